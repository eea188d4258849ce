# The image of the controller. From the repository's root:
#
#   docker build --build-arg COMMIT="$(git rev-parse HEAD)" -t poolwright:0.1.0 .

# Both stages are the same Debian, so that the program finds the C library it was linked with.
FROM rust:1.89-slim-trixie AS build
WORKDIR /src
COPY . .
ARG COMMIT=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    POOLWRIGHT_COMMIT="$COMMIT" cargo build --locked --release && cp target/release/poolwright /poolwright

FROM debian:trixie-slim
# librados is loaded when the program runs: that of this Debian is 18, which cannot use the keys of kind aes256k that a
# cluster made with Ceph 20 gives unless it is asked for others (see the README).
RUN apt-get update \
    && apt-get install -y --no-install-recommends librados2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /poolwright /usr/local/bin/poolwright
ARG COMMIT=unknown
LABEL org.opencontainers.image.title=poolwright \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.revision=$COMMIT
# Nobody, by number: Kubernetes then knows that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/poolwright"]
