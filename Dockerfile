# vsalient in a container, its default weights inside: no network is needed to run it.
#
#   docker build -t vsalient .                                    for CPUs
#   docker build -t vsalient:cuda --build-arg TORCH=cu126 .       for NVIDIA cards (several GB more)
#   docker run --rm -v "$PWD:/films" vsalient predict holiday.mp4
#   docker run --rm -p 127.0.0.1:8765:8765 -v jobs:/jobs -e VSALIENT_TOKEN vsalient serve --host 0.0.0.0 --storage /jobs
FROM python:3.11-slim-bookworm

# cpu, or one of PyTorch's CUDA builds such as cu126.
ARG TORCH=cpu
# The extras to install: serve, ray, remote, superpixels.
ARG EXTRAS=serve,superpixels

ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN pip install --index-url "https://download.pytorch.org/whl/${TORCH}" torch

COPY . /source
RUN pip install "/source[${EXTRAS}]" && rm -rf /source

# Not root: what is mounted must be writable for this user, or give --user "$(id -u):$(id -g)".
RUN useradd --create-home --uid 1000 films && mkdir -p /films /jobs && chown films /films /jobs
USER films
ENV VSALIENT_CACHE=/tmp/vsalient
WORKDIR /films
ENTRYPOINT ["vsalient"]
CMD ["--help"]
