complete -c qrng-gateway -s c -l config -d 'Configuration file (TOML)' -r -F
complete -c qrng-gateway -l parent -d 'The process that started this one, as it calls itself: seen even if it ends at once' -r
complete -c qrng-gateway -l check -d 'Check the configuration and the files that it names, say what is wrong, and end'
complete -c qrng-gateway -l die-with-parent -d 'End when the process that started this one ends'
complete -c qrng-gateway -s h -l help -d 'Print help'
complete -c qrng-gateway -s V -l version -d 'Print version'
