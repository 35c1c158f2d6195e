# `sightline serve` on NVIDIA GPUs. The driver is the host's: NVIDIA's container toolkit brings it in.
#
#   npm pack
#   docker build -f deploy/cuda.Dockerfile -t sightline:cuda .
#   docker run --gpus all --read-only --cap-drop ALL --security-opt no-new-privileges -p 8080:8080 sightline:cuda
FROM node:24-bookworm-slim AS install
ENV SIGHTLINE_CACHE=/opt/sightline \
    SIGHTLINE_LIBTORCH_VARIANT=cu130
# pip brings NVIDIA's libraries, which LibTorch's own archive has not.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY sightline-*.tgz ./
RUN npm install --omit=dev --no-audit --no-fund ./sightline-*.tgz pino \
 && rm sightline-*.tgz
RUN npx sightline setup

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    SIGHTLINE_CACHE=/opt/sightline \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=install /opt/sightline /opt/sightline
COPY --from=install /app /app
WORKDIR /app
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/v2/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Without a GPU it does not start, rather than being slow.
ENTRYPOINT ["node", "node_modules/sightline/dist/cli/main.js", "serve", "--host", "0.0.0.0", "--port", "8080", "--device", "cuda:all"]
CMD ["--log"]
