"""One clock for recordings whose own starts anew: transport and program streams put together by `cat`, or re-tuned."""

from dataclasses import dataclass
from fractions import Fraction

from av.packet import Packet
from av.stream import Stream

_BACK = Fraction(1, 10)  # seconds: time that goes back further than this in one stream is another clock
_LEAP = Fraction(10)  # so is time that leaps further than this; both are what the ffmpeg program takes
_TOGETHER = Fraction(1)  # streams that leap by the same within this share their new clock, and stay in step


@dataclass(slots=True)
class _Position:
    """Where one stream stands: when its next packet is due on the common clock, and which offset it takes."""

    due: Fraction
    epoch: int = 0


class SteadyClock:
    """Moves the times of packets so that each stream goes on where it stopped when the file's clock restarts.

    The first stream to leap decides how far its new part is moved; the others take the same distance when they leap
    in their turn, so that sound stays with its picture. Streams leap one after the other, because the last packet of
    a part may come late. Two readers of one file that show it the same packets get the same times.
    """

    def __init__(self) -> None:
        self._offsets: list[Fraction] = [Fraction(0)]
        self._positions: dict[int, _Position] = {}

    def mend(self, packet: "Packet[Stream]", step: int) -> bool:
        """Move `packet.pts` and `packet.dts`, in place.

        Args:
            packet: the next one of its stream, in the file's order.
            step: how long a packet lasts that does not say, in units of its time base.

        Returns:
            Whether the stream's clock started anew with this packet.
        """
        if packet.dts is None:
            position = self._positions.get(packet.stream_index)
            if position is not None and packet.pts is not None:
                packet.pts += round(self._offsets[position.epoch] / packet.time_base)
            return False
        stored = packet.dts * packet.time_base
        length = (packet.duration or step) * packet.time_base
        position = self._positions.setdefault(packet.stream_index, _Position(due=stored))
        time = stored + self._offsets[position.epoch]
        leaps = not -_BACK <= time - position.due <= _LEAP
        if leaps:
            wanted = position.due - stored
            shared = (
                number
                for number in range(position.epoch + 1, len(self._offsets))
                if abs(self._offsets[number] - wanted) <= _TOGETHER
            )
            position.epoch = next(shared, len(self._offsets))
            if position.epoch == len(self._offsets):
                self._offsets.append(wanted)
            time = stored + self._offsets[position.epoch]
        position.due = max(position.due, time + length)
        shift = round(self._offsets[position.epoch] / packet.time_base)
        packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift
        return leaps
