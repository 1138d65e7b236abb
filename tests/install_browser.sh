#!/bin/sh
# Installs Chromium and its driver for the test of report.html, where that can be done;
# says why where it cannot, and that test is then skipped.
set -eu

if command -v chromedriver >/dev/null && command -v chromium >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "no Chromium and no apt-get: the browser test will be skipped; install chromium and chromedriver to run it"
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "no Chromium and not root: the browser test will be skipped; to run it: sudo apt-get install chromium chromium-driver"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium chromium-driver; } >/dev/null; then
  echo "apt-get could not install chromium and chromium-driver: the browser test will be skipped"
fi
