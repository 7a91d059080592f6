#!/bin/sh
# What cargo runs as the compiler of the workspace's own crates (RUSTC_WORKSPACE_WRAPPER).
exec "$@" --cfg failpoints
