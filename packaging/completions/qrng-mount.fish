complete -c qrng-mount -l user -d 'The user that the gateway runs as, who may ask for the mount' -r
complete -c qrng-mount -l device -d 'A character device, by its name below /dev, that the gateway may ask for; several times for several devices' -r
complete -c qrng-mount -l listen -d 'Listen at this path; without it, on the socket that the service manager hands over' -r -F
complete -c qrng-mount -l owner-only -d 'Only the gateway\'s user may read files of the mount, not every user'
complete -c qrng-mount -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qrng-mount -s V -l version -d 'Print version'
