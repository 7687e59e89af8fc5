#!/bin/sh
# The agent in a guest: runs the commands that the harness sends over the second serial port, one a line, and answers each
# with a line `EXIT-CODE LENGTH` and so many bytes of output (standard output and error together).
exec </dev/ttyS1 >/dev/ttyS1 2>/dev/console
stty raw -echo
echo ready
while IFS= read -r line; do
    (eval "$line") </dev/null >/run/agent.out 2>&1
    code=$?
    echo "$code $(wc -c </run/agent.out)"
    cat /run/agent.out
done
