# Built on a glibc that uWebSockets.js' binary for this Node needs (2.38 or later).
FROM node:24.11.1-trixie-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc tsconfig.json ./
COPY src ./src
RUN npm ci --no-audit --no-fund && npm run prepare && npm prune --omit=dev \
    # Binaries for other platforms and Node versions are nine tenths of the image.
    && find node_modules/uWebSockets.js -name 'uws_*.node' ! -name 'uws_linux_*_137.node' -delete \
    # Builds for browsers and bundlers are a third of what traces need.
    && rm -rf node_modules/@opentelemetry/*/build/esm node_modules/@opentelemetry/*/build/esnext

FROM node:24.11.1-trixie-slim
LABEL org.opencontainers.image.title="ringd" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production \
    ETCD_DATA_DIR=/data \
    ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379 \
    ETCD_ADVERTISE_CLIENT_URLS=http://127.0.0.1:2379
COPY --from=build /src/node_modules /opt/ringd/node_modules
COPY --from=build /src/dist /opt/ringd/dist
COPY package.json /opt/ringd/
# Names that existing `docker run ... /usr/local/bin/etcd` lines call.
RUN chmod +x /opt/ringd/dist/bin/ringd.js /opt/ringd/dist/bin/ringctl.js \
    && ln -s /opt/ringd/dist/bin/ringd.js /usr/local/bin/ringd \
    && ln -s /opt/ringd/dist/bin/ringd.js /usr/local/bin/etcd \
    && ln -s /opt/ringd/dist/bin/ringctl.js /usr/local/bin/ringctl \
    && ln -s /opt/ringd/dist/bin/ringctl.js /usr/local/bin/etcdctl \
    && install -d -o node -g node -m 0700 /data
USER node
WORKDIR /data
VOLUME /data
EXPOSE 2379 2380
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["node", "-e", "fetch('http://127.0.0.1:2379/health').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# The process handles SIGTERM itself, also as PID 1.
CMD ["ringd"]
