"""Style sheet and script of the review page. Nothing is loaded from anywhere."""

REVIEW_CSS = """
:root { --bg:#fbfbf9; --card:#fff; --ink:#1d1d1b; --muted:#6d6c67; --line:#d8d7d1; --a:#2a6fdb;
  --b:#e0632b; --c:#17996b; --d:#8a56d6; --e:#b98900; --f:#c2377e }
@media (prefers-color-scheme: dark) { :root { --bg:#171716; --card:#201f1e; --ink:#ecebe7; --muted:#a3a29c;
  --line:#3d3c38; --a:#5b9bf5; --b:#f2865a; --c:#3fc08f; --d:#b48cf2; --e:#dcb23c;
  --f:#ef76b1 } }
* { box-sizing:border-box }
body { margin:0 auto; padding:18px 16px 48px; max-width:1180px; background:var(--bg); color:var(--ink);
  font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif }
h1 { font-size:20px; margin:0; overflow-wrap:anywhere } h2 { font-size:15px; margin:18px 0 6px }
header p, .note { color:var(--muted); margin:0 0 10px; font-size:13px }
#stage { background:#000; border-radius:8px; overflow:hidden; touch-action:none }
#screen { display:block; width:100%; max-height:72vh; object-fit:contain; cursor:crosshair }
#film { position:absolute; width:1px; height:1px; opacity:0; pointer-events:none }
.bar { display:flex; flex-wrap:wrap; align-items:center; gap:8px 18px; margin-top:10px }
.bar label { display:flex; align-items:center; gap:8px; color:var(--muted); font-size:13px }
#seek { flex:1 1 160px; min-width:0 } input[type=range] { accent-color:var(--a) }
output { font-variant-numeric:tabular-nums; min-width:4.6em; color:var(--ink) }
button, select { font:inherit; color:inherit; background:var(--card); border:1px solid var(--line); border-radius:6px;
  padding:4px 10px; cursor:pointer } #play { min-width:44px; min-height:34px }
.columns { display:grid; grid-template-columns:minmax(0,2fr) minmax(0,1fr); gap:0 28px }
@media (max-width:760px) { .columns { grid-template-columns:minmax(0,1fr) } }
#curves svg { display:block; width:100%; height:84px; margin-bottom:10px; background:var(--card);
  border:1px solid var(--line); border-radius:6px; cursor:pointer }
#curves p { margin:0 0 2px; font-size:12.5px; color:var(--muted) }
#review { margin:0; padding-left:1.6em } #review button { margin:2px 0; width:100%; text-align:left }
"""

REVIEW_SCRIPT = r"""
const $ = id => document.getElementById(id), film = $('film'), screen_ = $('screen');
const W = FACTS.width, H = FACTS.height, T = FACTS.times, N = FACTS.maps.length;
const paint = screen_.getContext('2d', { willReadFrequently: true });
const store = document.createElement('canvas'); store.width = W; store.height = H * (N + 1);
const from = store.getContext('2d', { willReadFrequently: true });
let wipe = 0.5, dirty = true;
const state = () => ({ view: $('view').value, which: $('which') ? +$('which').value : 0,
  strength: $('strength').value / 100, threshold: $('threshold').value / 100 });
function frameAt(time) {            // the last frame that has begun
  let low = 0, high = T.length - 1;
  while (low < high) { const mid = (low + high + 1) >> 1; if (T[mid] <= time + 1e-4) low = mid; else high = mid - 1; }
  return low;
}
const TINTS = [[255, 45, 85], [20, 150, 255]];
function draw() {
  const s = state(), pair = s.view === 'side';
  const width = pair ? W * 2 : W;
  if (screen_.width !== width || screen_.height !== H) { screen_.width = width; screen_.height = H; }
  if (film.readyState < 2) return;
  from.drawImage(film, 0, 0);
  const picture = from.getImageData(0, 0, W, H), p = picture.data;
  const maps = [];
  for (let k = 0; k < N; k++) maps.push(from.getImageData(0, H * (k + 1), W, H).data);
  const level = s.threshold * 255, cut = s.threshold > 0;
  const at = (k, i) => { const v = maps[k][i]; return cut ? (v >= level ? 255 : 0) : v; };
  const tinted = (out, k, x0, x1, tint) => {
    const o = out.data;
    for (let y = 0; y < H; y++) for (let x = x0; x < x1; x++) {
      const i = (y * W + x) * 4, c = at(k, i) / 255, a = c * s.strength, d = 1 - (1 - c) * 0.45 * s.strength;
      for (let j = 0; j < 3; j++) o[i + j] = p[i + j] * d * (1 - a) + tint[j] * a;
      o[i + 3] = 255;
    }
    return out;
  };
  const gray = (out, k, x0, x1) => {
    const o = out.data;
    for (let y = 0; y < H; y++) for (let x = x0; x < x1; x++) {
      const i = (y * W + x) * 4; o[i] = o[i + 1] = o[i + 2] = at(k, i); o[i + 3] = 255;
    }
    return out;
  };
  const empty = () => paint.createImageData(W, H);
  if (s.view === 'film') paint.putImageData(picture, 0, 0);
  else if (s.view === 'map') paint.putImageData(gray(empty(), s.which, 0, W), 0, 0);
  else if (s.view === 'side') {
    if (N > 1) { paint.putImageData(tinted(empty(), 0, 0, W, TINTS[0]), 0, 0);
      paint.putImageData(tinted(empty(), 1, 0, W, TINTS[0]), W, 0); }
    else { paint.putImageData(picture, 0, 0); paint.putImageData(gray(empty(), 0, 0, W), W, 0); }
  } else if (s.view === 'wipe') {
    const x = Math.round(wipe * W), out = empty();
    if (N > 1) { tinted(out, 0, 0, x, TINTS[0]); tinted(out, 1, x, W, TINTS[1]); }
    else { out.data.set(p); tinted(out, 0, x, W, TINTS[0]); }
    paint.putImageData(out, 0, 0);
    paint.fillStyle = '#fff'; paint.fillRect(x - 1, 0, 2, H);
  } else if (s.view === 'difference') {
    const out = empty(), o = out.data;
    for (let i = 0; i < o.length; i += 4) {
      const d = at(0, i) - at(1, i), l = (p[i] + p[i + 1] + p[i + 2]) / 6;
      o[i] = l + Math.max(0, d) * 0.9; o[i + 1] = l; o[i + 2] = l + Math.max(0, -d) * 0.9; o[i + 3] = 255;
    }
    paint.putImageData(out, 0, 0);
  } else paint.putImageData(tinted(empty(), s.which, 0, W, TINTS[0]), 0, 0);
  const now = frameAt(film.currentTime + T[0]);
  document.body.dataset.frame = now;
  $('clock').value = (T[now] - T[0]).toFixed(2) + ' s';
  if (document.activeElement !== $('seek') || !film.paused) $('seek').value = now;
  $('level').value = cut ? s.threshold.toFixed(2) : 'soft';
  for (const line of document.querySelectorAll('.now')) {
    const x = T.length > 1 ? now / (T.length - 1) * 1000 : 0; line.setAttribute('x1', x); line.setAttribute('x2', x);
  }
}
function go(index) {
  index = Math.max(0, Math.min(T.length - 1, index));
  const next = index + 1 < T.length ? T[index + 1] : T[index] + 0.02;
  film.currentTime = (T[index] + next) / 2 - T[0];    // the middle of the frame: no rounding gets past its ends
}
function tick() { if (dirty || !film.paused) { draw(); dirty = film.readyState < 2; } requestAnimationFrame(tick); }
const again = () => { dirty = true; };
for (const event of ['seeked', 'loadeddata', 'timeupdate', 'canplay']) film.addEventListener(event, again);
for (const id of ['view', 'which', 'strength', 'threshold']) if ($(id)) $(id).addEventListener('input', again);
$('seek').max = T.length - 1;
$('seek').addEventListener('input', () => { film.pause(); go(+$('seek').value); });
const toggle = () => { if (film.paused) { if (film.ended) film.currentTime = 0; film.play(); } else film.pause(); };
$('play').addEventListener('click', toggle);
film.addEventListener('play', () => { $('play').textContent = '❚❚'; });
film.addEventListener('pause', () => { $('play').textContent = '▶'; again(); });
document.addEventListener('keydown', event => {
  if (['INPUT', 'SELECT', 'BUTTON'].includes(event.target.tagName)) return;
  const now = frameAt(film.currentTime + T[0]);
  if (event.key === ' ') { toggle(); event.preventDefault(); }
  if (event.key === 'ArrowRight') { film.pause(); go(now + 1); }
  if (event.key === 'ArrowLeft') { film.pause(); go(now - 1); }
});
const pull = event => { if (!event.buttons) return;
  const box = screen_.getBoundingClientRect();
  wipe = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)); again(); };
screen_.addEventListener('pointerdown', pull); screen_.addEventListener('pointermove', pull);
function curve(title, lists, colours, format, names = FACTS.maps) {
  const most = Math.max(1e-9, ...lists.flat()), last = Math.max(1, T.length - 1);
  const lines = lists.map((values, k) => `<polyline fill="none" stroke="var(--${colours[k]})" stroke-width="2"
    vector-effect="non-scaling-stroke"
    points="${values.map((v, i) => `${i / last * 1000},${98 - v / most * 94}`).join(' ')}"/>`);
  const key = lists.length > 1 ? ' · ' + names.map((name, k) => `<span style="color:var(--${colours[k]})">${
    name.replace(/[&<]/g, c => c === '&' ? '&amp;' : '&lt;')}</span>`).join(' ') : '';
  const holder = document.createElement('div');
  holder.innerHTML = `<p>${title}, up to ${format(most)}${key}</p>
    <svg viewBox="0 0 1000 100" preserveAspectRatio="none">${lines.join('')}
    <line class="now" y1="0" y2="100" stroke="var(--muted)" vector-effect="non-scaling-stroke"/></svg>`;
  const svg = holder.querySelector('svg');
  svg.addEventListener('pointerdown', event => { const box = svg.getBoundingClientRect();
    film.pause(); go(Math.round((event.clientX - box.left) / box.width * (T.length - 1))); });
  $('curves').append(holder);
}
curve('Area of the object', FACTS.area, ['a', 'b'], v => (100 * v).toFixed(1) + ' % of the frame');
curve('Doubt', FACTS.doubt, ['a', 'b'], v => v.toFixed(2));
if (FACTS.milliseconds.length) curve('Time a frame took', [FACTS.milliseconds], ['c'], v => v.toFixed(0) + ' ms');
const stages = Object.keys(FACTS.stages), spent = Object.values(FACTS.stages);
if (stages.length) curve('Stages busy a frame', spent, [...'abcdef'], v => v.toFixed(1) + ' ms', stages);
for (const [index, doubt] of FACTS.review) {
  const item = document.createElement('li'), button = document.createElement('button');
  button.textContent = `${(T[index] - T[0]).toFixed(2)} s, frame ${index}: doubt ${doubt.toFixed(2)}`;
  button.addEventListener('click', () => { film.pause(); go(index); });
  item.append(button); $('review').append(item);
}
requestAnimationFrame(tick);
"""
