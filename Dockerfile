# An image of the broker, for who runs RabbitMQ's image today: the same ports, and the same variables (RABBITMQ_DEFAULT_USER and others,
# docs/guide/src/container.md).
#
#     docker build --tag everack .
#     docker run --publish 5672:5672 --publish 15672:15672 --volume everack:/var/lib/everack everack

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --package everack-server --bin everack \
    && strip --strip-debug target/release/everack

# A user that is not root.
FROM debian:bookworm-slim
RUN useradd --uid 65532 --no-create-home --home-dir /var/lib/everack --shell /usr/sbin/nologin everack \
    && install --directory --owner=everack --group=everack --mode=0700 /var/lib/everack
COPY --from=build /build/target/release/everack /usr/bin/everack
USER everack
VOLUME /var/lib/everack
EXPOSE 5671 5672 15672 15692
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/everack"]
CMD ["serve", "--rabbitmq-environment", "--data", "/var/lib/everack"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/bin/everack", "health"]
