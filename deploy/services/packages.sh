# shellcheck shell=bash
# Installs Debian packages for the service scripts and for CI. It must never start what a package brings: the scripts start
# servers themselves, on loopback and with data folders of their own.

APT_LIMIT_S=900

# `install_packages NAME…`: fails with a message that says what to do by hand when it cannot.
install_packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    printf 'missing: %s. Install by hand (Debian: sudo apt-get install %s).\n' "$*" "$*" >&2
    return 1
  fi
  printf 'installing %s\n' "$*" >&2
  # One at a time; whoever waited finds the packages there, and apt has nothing left to do.
  (
    flock -w "$APT_LIMIT_S" 8 || exit 1
    apt_install "$@"
  ) 8>/tmp/flagstop-install.lock || {
    printf 'apt-get could not install: %s. Its messages are above.\n' "$*" >&2
    return 1
  }
}

# Packages may start their own daemons on public addresses; a policy file holds them back while apt runs.
apt_install() {
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    # The caller's subshell ends with this function, whatever way.
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  {
    timeout "$APT_LIMIT_S" apt-get -q -o DPkg::Lock::Timeout=300 update &&
      timeout "$APT_LIMIT_S" apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
  } >&2 </dev/null 8>&-
}
