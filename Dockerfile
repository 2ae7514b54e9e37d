# The gateway as a small image that runs without privileges; a read-only root is enough for it.
#   make release, or docker build --build-arg COMMIT=$(git rev-parse --short HEAD) -t transcription-gateway .
#   docker run -e DATABASE_URL=… -e GLADIA_API_KEY=… -e GATEWAY_API_TOKENS=… -p 8080:8080 -p 1935:1935 transcription-gateway
FROM python:3.13.11-slim-bookworm AS build
WORKDIR /build
# Empty (--build-arg COMPILED=): as it is written, only the fan-out in C, two minutes sooner.
ARG COMPILED=1
# Compiler and mypyc; nothing of them stays in the image.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/gateway
COPY requirements.lock ./
RUN /opt/gateway/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY requirements-compile.lock ./
RUN /opt/gateway/bin/pip install --no-cache-dir --require-hashes --target /opt/mypyc -r requirements-compile.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY clients/js clients/js
COPY gateway gateway
COPY ingest ingest
COPY stt stt
COPY storage storage
COPY transcription_client transcription_client
RUN GATEWAY_COMPILED=$COMPILED PYTHONPATH=/opt/mypyc \
    /opt/gateway/bin/pip install --no-cache-dir --no-deps --no-build-isolation . && /opt/gateway/bin/gateway version

FROM python:3.13.11-slim-bookworm AS gateway
ARG COMMIT=
ARG VERSION=
LABEL org.opencontainers.image.title="transcription-gateway" \
      org.opencontainers.image.description="Live audio in, one numbered and metered transcript out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.version="$VERSION"
RUN groupadd --system --gid 10001 gateway \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin gateway \
    && install --directory --owner gateway --group gateway --mode 0700 /data
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 GATEWAY_DATA_DIR=/data GATEWAY_COMMIT=$COMMIT
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080 1935
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"GATEWAY_HTTP_PORT\", \"8080\")}/healthz', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
