#!/usr/bin/env bash
# serve.sh PROGRAM...: starts a TLS server in the foreground on a free port of loopback, which it is told as $PORT, makes one
# connection to it, and ends it. Says what the client saw.
set -eu
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 1 -keyout key.pem -out certificate.pem 2>openssl.log
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PORT
if [ -f stunnel.conf ]; then
    sed -i "s/PORT/$PORT/" stunnel.conf
fi
"$@" >server.log 2>&1 &
server=$!
for _ in $(seq 400); do
    if openssl s_client -connect "127.0.0.1:$PORT" </dev/null >client.log 2>&1 && grep -q '^New, TLS' client.log; then
        break
    fi
    sleep 0.05
done
grep '^New, TLS' client.log || cat client.log server.log error.log
kill "$server"
wait "$server" || true
