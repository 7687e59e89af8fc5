complete -c qrng-http -s c -l config -d 'Configuration file (TOML)' -r -F
complete -c qrng-http -l parent -d 'The process that started this one, as it calls itself: seen even if it ends at once' -r
complete -c qrng-http -l new-key -d 'Make a new key for a client of this name, print it with the line for the file that `keys` names, and end' -r
complete -c qrng-http -l check -d 'Check the configuration and the files that it names, say what is wrong, and end'
complete -c qrng-http -l die-with-parent -d 'End when the process that started this one ends'
complete -c qrng-http -s h -l help -d 'Print help (see more with \'--help\')'
complete -c qrng-http -s V -l version -d 'Print version'
