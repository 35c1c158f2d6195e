# `sightline serve` on the CPU. Root installs, `node` runs, and nothing is written once it runs.
#
#   npm pack
#   docker build -f deploy/cpu.Dockerfile -t sightline:cpu .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -p 8080:8080 sightline:cpu
#
# Models of your own: -v "$PWD/models:/models:ro" ... sightline:cpu --model vit=/models/vit.pt
FROM node:24-bookworm-slim AS install
ENV SIGHTLINE_CACHE=/opt/sightline \
    SIGHTLINE_LIBTORCH_VARIANT=cpu
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY sightline-*.tgz ./
RUN npm install --omit=dev --no-audit --no-fund ./sightline-*.tgz pino \
 && rm sightline-*.tgz
# What only a build needs is left out.
RUN npx sightline setup \
 && rm -rf "$SIGHTLINE_CACHE"/libtorch/*/include "$SIGHTLINE_CACHE"/libtorch/*/share

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    SIGHTLINE_CACHE=/opt/sightline
COPY --from=install /opt/sightline /opt/sightline
COPY --from=install /app /app
WORKDIR /app
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/v2/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# Node itself, and not npx: it gets SIGTERM, and lets the requests in flight end.
ENTRYPOINT ["node", "node_modules/sightline/dist/cli/main.js", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["--log"]
