#!/bin/bash
# Changes the colour of the terminal with each key, after one that says that it is there. FILE has a
# line for each: when the key was read, in microseconds.
# usage: keys.sh FILE
stty raw -echo
colours=(20262e d0d6de)
printf '\033]11;#%s\007' "${colours[0]}"
sleep 2
index=1
printf '\033]11;#%s\007' "${colours[1]}"
while IFS= read -rsn1; do
    read_us=${EPOCHREALTIME/[.,]/}
    index=$((1 - index))
    printf '\033]11;#%s\007' "${colours[index]}"
    echo "$read_us" >>"$1"
done
