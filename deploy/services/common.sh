# shellcheck shell=bash
# What the service scripts share: arguments, data folders, free ports, starting a daemon, ending it.
# A script sources this file, sets SERVICE, SERVICE_USER and its functions, then calls `service_main "$@"`.
# It must never touch a server that it did not start itself, and never listen anywhere but on loopback.
#
# A script gives these functions (each runs with DATA set to the real data folder, PORT to the port):
#   service_missing    prints the Debian packages that are missing, one a line; nothing when all is there
#   service_fetch      brings what is no Debian package (optional)
#   service_prepare    makes the data folder ready for its first start
#   service_launch     starts the daemon in the background
#   service_ready      succeeds as soon as clients are served
#   service_pid        prints the daemon's process id, if it runs
#   service_stop       asks the daemon to end; need not wait
#   service_kill       ends it the hard way, as a power cut would
#   service_url        prints the URL for PORT
# With --tls the folder DATA/tls holds certificates (see make_certificates), and `has_tls` is true from then on.
#   service_logs       prints the log files' paths

set -euo pipefail

PROJECT_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
PORT_FIRST=20000 # below the range from which the system takes ports for outgoing connections
PORT_LAST=32000
START_LIMIT_S=120
STOP_LIMIT_S=60
LOG_LINES=60
OPEN_FILES_WANTED=65536

# shellcheck source=deploy/services/packages.sh
. "$PROJECT_ROOT/deploy/services/packages.sh"

SERVICE=${SERVICE:-}
SERVICE_USER=${SERVICE_USER:-}
DATA=""
PORT=""
AS_USER=(env)

say() { printf '%s: %s\n' "$SERVICE" "$*" >&2; }
die() {
  say "$1"
  exit "${2:-1}"
}
is_root() { [ "$(id -u)" = 0 ]; }

usage() {
  cat >&2 <<TEXT
usage: deploy/services/$SERVICE COMMAND [--data DIR] [--port PORT] [--tls] [--now]

  install   get what is missing (Debian packages need root; a message says what to install otherwise)
  start     install if needed, start on 127.0.0.1, wait until ready, print the URL (and nothing else) on stdout
  url       print the URL of the running service; exit 3 if it does not run
  status    say whether it runs; exit 3 if it does not
  logs      print the end of its logs
  stop      end it cleanly and wait; --now kills it as a power cut would
  remove    stop it at once and delete its data folder

  --data DIR    its data folder (default: .services/$SERVICE below the project's root); each folder is an instance of its own
  --port PORT   default: the port of its last start if that is free, else any free one
  --tls         at the first start in a folder: take encrypted connections only, with certificates made for it; the URL
                names them
TEXT
}

# --- Packages -------------------------------------------------------------------------------------------------

service_fetch() { :; }

install_service() {
  local missing
  missing=$(service_missing)
  if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # one word per package
    install_packages $missing || die "not installed. Without it, give the tests a URL of your own server."
    missing=$(service_missing)
    [ -z "$missing" ] || die "still missing after the installation: $missing"
  fi
  service_fetch
}

# --- Data folder ----------------------------------------------------------------------------------------------

# What to put before a command so that it runs as the service's user. Only root hands over; everybody else stays who they
# are. To be asked only after the installation: that makes the user.
as_user() {
  AS_USER=(env)
  if is_root && [ -n "$SERVICE_USER" ]; then
    AS_USER=(setpriv "--reuid=$SERVICE_USER" "--regid=$SERVICE_USER" --init-groups env)
  fi
}

# The folder above may be closed to the user, so this looks from the root folder.
run_as_user() {
  as_user
  (cd / && "${AS_USER[@]}" "$@")
}

# shellcheck disable=SC2016 # for the inner shell
usable_by_user() { run_as_user sh -c '[ -d "$1" ] && [ -x "$1" ] && [ -w "$1" ]' sh "$1" 2>/dev/null; }

give_to_user() {
  if is_root && [ -n "$SERVICE_USER" ]; then chown "$SERVICE_USER" "$1"; fi
  chmod 700 "$1"
}

# The folder that was asked for may lie where the service's user cannot go (a checkout in root's home), or its path may
# have characters that a server trips over (RabbitMQ over an apostrophe, Java over anything but ASCII where no locale is
# set). Then the data lives in a temporary folder, and a file `moved-to` in the chosen one remembers where.
find_data() {
  DATA=$1
  [ ! -f "$1/moved-to" ] || DATA=$(head -n 1 "$1/moved-to")
}

make_data() {
  local chosen=$1 base
  find_data "$chosen"
  if [ -d "$DATA" ] && [ -f "$DATA/flagstop-service" ] && usable_by_user "$DATA"; then return; fi
  if [ -e "$chosen" ] && [ ! -f "$chosen/flagstop-service" ] && [ ! -f "$chosen/moved-to" ] && [ -n "$(ls -A "$chosen")" ]; then
    die "$chosen is not empty and no data folder of this script; choose another one with --data" 2
  fi
  mkdir -p "$chosen"
  DATA=$chosen
  give_to_user "$DATA"
  if [[ $DATA = *[!A-Za-z0-9/._+@,=-]* ]] || ! usable_by_user "$DATA"; then
    for base in "${TMPDIR:-/tmp}" /tmp; do
      DATA=$(mktemp -d "$base/flagstop-$SERVICE.XXXXXX")
      give_to_user "$DATA"
      if usable_by_user "$DATA"; then break; fi
      rmdir "$DATA"
      DATA=""
    done
    [ -n "$DATA" ] || die "the server can use neither $chosen nor a folder under /tmp; choose another one with --data"
    printf '%s\n' "$DATA" >"$chosen/moved-to"
    say "the server cannot work in $chosen (its user cannot go there, or its path has special characters); the data lives in $DATA"
  fi
  printf '%s\n' "$SERVICE" >"$DATA/flagstop-service"
}

check_owner() {
  [ ! -f "$DATA/flagstop-service" ] || [ "$(cat "$DATA/flagstop-service")" = "$SERVICE" ] ||
    die "$DATA is the data folder of $(cat "$DATA/flagstop-service"), not of $SERVICE" 2
}

# --- Certificates ---------------------------------------------------------------------------------------------

CERTIFICATE_DAYS=30
tls_wanted=""

has_tls() { [ -f "$DATA/tls/ca.pem" ]; }

# An authority of its own, and what it signed: `server.pem` for 127.0.0.1 and localhost, `client.pem`, each with its key.
make_certificates() {
  local folder=$DATA/tls name
  if [ -z "$tls_wanted" ] || has_tls; then return 0; fi
  command -v openssl >/dev/null || install_packages openssl || die "no openssl, no certificates"
  [ ! -f "$DATA/port" ] || die "$DATA was started without --tls before; choose another folder" 2
  mkdir -p "$folder"
  {
    for name in server client; do
      openssl req -newkey rsa:2048 -nodes -subj "/CN=flagstop $name" -keyout "$folder/$name.key" -out "$folder/$name.csr"
    done
    openssl req -x509 -newkey rsa:2048 -nodes -days "$CERTIFICATE_DAYS" -subj "/CN=flagstop authority" \
      -addext keyUsage=keyCertSign,cRLSign -keyout "$folder/ca.key" -out "$folder/authority.pem"
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n' >"$folder/server.ext"
    printf 'extendedKeyUsage=clientAuth\n' >"$folder/client.ext"
    for name in server client; do
      openssl x509 -req -days "$CERTIFICATE_DAYS" -in "$folder/$name.csr" -extfile "$folder/$name.ext" \
        -CA "$folder/authority.pem" -CAkey "$folder/ca.key" -CAcreateserial -out "$folder/$name.pem"
    done
  } >"$folder/openssl.log" 2>&1 || die "the certificates could not be made: see $folder/openssl.log"
  chmod 600 "$folder"/*.key
  if is_root && [ -n "$SERVICE_USER" ]; then chown -R "$SERVICE_USER" "$folder"; fi
  # Last: the mark that all is there.
  mv "$folder/authority.pem" "$folder/ca.pem"
}

# A path as a value in a URL's query.
in_query() { sed 's/%/%25/g; s/+/%2B/g; s/@/%40/g; s/&/%26/g; s/#/%23/g' <<<"$1"; }

# --- Ports ----------------------------------------------------------------------------------------------------

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

is_port() { [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && [ "$1" -le 65535 ]; }

# `choose_port NAME` prints a port and remembers it in the file NAME: the one of the last start, so that clients find a
# restarted server again, or any free one.
choose_port() {
  local file=$DATA/$1 port="" tries
  [ ! -f "$file" ] || port=$(cat "$file")
  if is_port "$port"; then
    if port_is_free "$port"; then
      echo "$port"
      return
    fi
    say "port $port of the last start is taken; choosing another one"
  fi
  for ((tries = 0; tries < 200; tries++)); do
    port=$((PORT_FIRST + SRANDOM % (PORT_LAST - PORT_FIRST)))
    if port_is_free "$port"; then
      echo "$port" >"$file"
      echo "$port"
      return
    fi
  done
  die "found no free port between $PORT_FIRST and $PORT_LAST"
}

# --- Processes ------------------------------------------------------------------------------------------------

# `pid_from_file FILE WORD` prints the process id in FILE if that process lives and has WORD in its command line: a
# process id alone may belong to somebody else after a restart of the machine.
pid_from_file() {
  local pid
  [ -f "$1" ] || return 1
  pid=$(head -n 1 "$1" | tr -dc '0-9')
  [ -n "$pid" ] && process_lives "$pid" || return 1
  [ -z "$2" ] || tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | LC_ALL=C grep -qF -- "$2" || return 1
  echo "$pid"
}

# A process that has ended but that nobody has waited for yet (a container without init) counts as gone.
process_lives() {
  local state
  state=$(ps -o stat= -p "$1" 2>/dev/null) || return 1
  [[ -n $state && $state != Z* ]]
}

wait_gone() {
  local pid=$1 limit_s=$2 until=$((SECONDS + $2))
  while process_lives "$pid"; do
    [ "$SECONDS" -lt "$until" ] || die "process $pid did not end within $limit_s s"
    sleep 0.1
  done
}

raise_open_files() {
  local most
  most=$(ulimit -Hn)
  if [ "$most" = unlimited ] || [ "$most" -gt "$OPEN_FILES_WANTED" ]; then most=$OPEN_FILES_WANTED; fi
  ulimit -Sn "$most" 2>/dev/null || true
}

# `detach FOLDER LOG COMMAND…` starts a daemon in FOLDER that outlives this script and its terminal, keeps none of its
# files open, and prints the daemon's process id.
detach() {
  local folder=$1 log=$2
  shift 2
  (
    cd -- "$folder"
    raise_open_files
    exec 9>&-
    setsid nohup "$@" >>"$log" 2>&1 </dev/null &
    echo $!
  )
}

# --- Commands -------------------------------------------------------------------------------------------------

wait_ready() {
  local until=$((SECONDS + START_LIMIT_S)) seen=""
  while ! service_ready; do
    if service_pid >/dev/null; then
      seen=yes
    elif [ -n "$seen" ]; then
      logs >&2
      die "it ended while starting; its logs are above"
    fi
    if [ "$SECONDS" -ge "$until" ]; then
      logs >&2
      service_kill || true
      die "not ready after $START_LIMIT_S s; its logs are above"
    fi
    sleep 0.1
  done
}

running_url() {
  [ -d "$DATA" ] && service_pid >/dev/null || return 1
  PORT=$(cat "$DATA/port")
  service_url
}

start() {
  local chosen=$1 wanted_port=$2 url
  install_service
  make_data "$chosen"
  check_owner
  make_certificates
  exec 9>"$DATA/lock"
  flock -w "$((START_LIMIT_S + STOP_LIMIT_S))" 9 || die "another start or stop of $DATA does not end"
  if url=$(running_url); then
    [ -z "$wanted_port" ] || [ "$wanted_port" = "$(cat "$DATA/port")" ] ||
      die "it runs already, on port $(cat "$DATA/port"); stop it first" 2
    echo "$url"
    return
  fi
  if [ -n "$wanted_port" ]; then
    port_is_free "$wanted_port" || die "port $wanted_port is taken" 2
    echo "$wanted_port" >"$DATA/port"
    PORT=$wanted_port
  else
    PORT=$(choose_port port)
  fi
  say "starting on port $PORT, data in $DATA"
  service_prepare
  service_launch
  wait_ready
  service_url
}

stop() {
  local how=$1 pid
  [ -d "$DATA" ] || return 0
  exec 9>"$DATA/lock"
  flock -w "$((START_LIMIT_S + STOP_LIMIT_S))" 9 || die "another start or stop of $DATA does not end"
  PORT=$(cat "$DATA/port" 2>/dev/null || true)
  if ! pid=$(service_pid); then
    say "does not run ($DATA)"
    service_after_stop
    return
  fi
  if [ "$how" = now ]; then service_kill; else service_stop; fi
  wait_gone "$pid" "$STOP_LIMIT_S"
  service_after_stop
  say "stopped ($DATA)"
}

service_after_stop() { :; }

logs() {
  local file
  while read -r file; do
    [ -f "$file" ] || continue
    printf -- '--- %s\n' "$file"
    tail -n "$LOG_LINES" "$file"
  done < <(service_logs)
}

# Deletes only what carries the mark of this script.
remove() {
  local chosen=$1
  if [ -f "$DATA/flagstop-service" ]; then rm -rf -- "$DATA"; fi
  if [ -f "$chosen/moved-to" ]; then rm -rf -- "$chosen"; fi
}

service_main() {
  local command=${1:-} data="" port="" how="clean"
  [ $# -gt 0 ] && shift
  while [ $# -gt 0 ]; do
    case $1 in
      --data)
        if [ $# -lt 2 ] || [ -z "$2" ]; then die "--data needs a folder" 2; fi
        data=$2
        shift 2
        ;;
      --port)
        if [ $# -lt 2 ] || ! is_port "$2"; then die "--port needs a number from 1 to 65535" 2; fi
        port=$2
        shift 2
        ;;
      --now)
        how=now
        shift
        ;;
      --tls)
        tls_wanted=yes
        shift
        ;;
      *)
        usage
        die "unknown argument: $1" 2
        ;;
    esac
  done
  [ -n "$data" ] || data=$PROJECT_ROOT/.services/$SERVICE
  # One folder, one name: a running process is known by it.
  data=$(realpath -m -- "$data")
  find_data "$data"
  case $command in
    install | start | help | --help | -h | "") ;;
    *) check_owner ;;
  esac
  case $command in
    install) install_service ;;
    start) start "$data" "$port" ;;
    url) running_url || die "does not run ($DATA)" 3 ;;
    status)
      if url=$(running_url); then echo "running at $url, process $(service_pid), data in $DATA"; else
        echo "stopped, data in $DATA"
        exit 3
      fi
      ;;
    logs) logs ;;
    stop) stop "$how" ;;
    remove)
      stop now
      remove "$data"
      ;;
    help | --help | -h) usage ;;
    *)
      usage
      die "unknown command: ${command:-none}" 2
      ;;
  esac
}
