# shellcheck shell=bash
# Makes certificates for engines with TLS. Each directory has ca.pem, cert.pem and key.pem for DOCKER_CERT_PATH:
#
#   host1, host2   The certificates of the engines.
#   client         A client certificate that the engines accept.
#   stranger       A client certificate that the engines refuse. It comes from another certificate authority,
#                  which has the same name.

KEY_KIND=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

make_authority() {
  mkdir -p "$1"
  openssl req -x509 "${KEY_KIND[@]}" -days 365 -subj /CN=eid-rig-authority -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout "$1/key.pem" -out "$1/cert.pem"
}

# make_certificate FOLDER AUTHORITY NAME EXTENSIONS
make_certificate() {
  mkdir -p "$1"
  openssl req "${KEY_KIND[@]}" -subj "/CN=$3" -keyout "$1/key.pem" -out "$1/request"
  echo "$4" > "$1/extensions"
  openssl x509 -req -in "$1/request" -CA "$2/cert.pem" -CAkey "$2/key.pem" -CAcreateserial -days 365 \
    -extfile "$1/extensions" -out "$1/cert.pem"
  rm "$1/request" "$1/extensions"
}

# Makes the certificates once for each state directory. The final rename makes them valid.
make_certificates() (
  umask 077
  [ ! -e "$STATE/tls" ] || exit 0
  rm -rf "$STATE/tls.new"
  mkdir "$STATE/tls.new"
  cd "$STATE/tls.new" || exit
  trap '[ -e "$STATE/tls" ] || { cat log >&3; say "no certificates could be made"; } 2>&3' EXIT
  exec 3>&2 > log 2>&1
  make_authority authority
  make_authority other
  make_certificate client authority client extendedKeyUsage=clientAuth
  make_certificate stranger other stranger extendedKeyUsage=clientAuth
  for host in "${HOSTS[@]}"; do
    make_certificate "host$host" authority "host$host.example" "extendedKeyUsage=serverAuth
subjectAltName=IP:$(host_ipv4 "$host"),IP:$(host_ipv6 "$host"),DNS:host$host.example"
  done
  for folder in client stranger host*; do cp authority/cert.pem "$folder/ca.pem"; done
  mv "$STATE/tls.new" "$STATE/tls"
)
