#!/bin/sh
# Build the worker's image: `scripts/worker_image.sh TAG`.
#
# With IMAGE_ENGINE=docker (or podman) as anybody would. With buildah (the default where no docker runs) it
# needs no daemon, no user namespace and no registry: without IMAGE_BASE it makes a base of its own, a minimal
# Debian with Python, by debootstrap (as root).
set -eu
cd "$(dirname "$0")/.."

tag=${1:?the name of the image}
engine=${IMAGE_ENGINE:-}
if [ -z "$engine" ]; then
    engine=$(docker info >/dev/null 2>&1 && echo docker || echo buildah)
fi
command -v "$engine" >/dev/null ||
    { echo "worker image: $engine is not installed (Debian: apt-get install buildah debootstrap)." >&2; exit 1; }

if [ "$engine" != buildah ]; then
    exec "$engine" build --file realtime_worker/Dockerfile --tag "$tag" \
        ${IMAGE_BASE:+--build-arg BASE_IMAGE="$IMAGE_BASE"} .
fi

export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
base=${IMAGE_BASE:-}
if [ -z "$base" ]; then
    base=localhost/sidetone-base
    if ! buildah images --quiet "$base" >/dev/null 2>&1; then
        echo "worker image: making a base by debootstrap"
        root=$(mktemp -d)
        trap 'rm -rf "$root"' EXIT
        debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates \
            trixie "$root/base" >"$root/log" 2>&1 || { tail -n 20 "$root/log" >&2; exit 1; }
        container=$(buildah from scratch)
        buildah copy --quiet "$container" "$root/base" / >/dev/null
        buildah commit --quiet --rm "$container" "$base" >/dev/null
    fi
fi
# The machine's own certificates and proxies serve while packages are fetched; none of it stays in the image.
buildah build --format docker --file realtime_worker/Dockerfile --tag "$tag" --build-arg BASE_IMAGE="$base" \
    --volume /etc/ssl/certs:/etc/ssl/certs:ro .
