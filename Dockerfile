# The gateway as one binary on a plain Debian: docker build -t subgate:local .
FROM node:26.10.0-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run build

FROM debian:bookworm-slim
COPY --from=build /src/dist/subgate /usr/local/bin/subgate
# Like /tmp, since nobody knows yet as whom the gateway will run: it makes folders of its own in here. A named volume
# begins as a copy of it.
RUN mkdir -m 1777 /var/lib/subgate
ENV HOME=/var/lib/subgate SUBGATE_DATA_DIR=/var/lib/subgate/data SUBGATE_SERVER_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["subgate"]
CMD ["serve"]
