complete -c qrng-mount -l user -d 'The user that the gateway runs as, who may ask for the mount' -r
complete -c qrng-mount -l listen -d 'Listen at this path; without it, on the socket that the service manager hands over' -r -F
complete -c qrng-mount -l owner-only -d 'Only the gateway\'s user may read, not every user'
complete -c qrng-mount -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qrng-mount -s V -l version -d 'Print version'
