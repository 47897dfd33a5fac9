# Compiles C programs and runs them; their output must not depend on how they were optimised.
for program in floats vectors signals threads language; do
  for options in ${OPTIONS:--O2}; do
    gcc -std=gnu11 -Wall -Wextra -Werror -Wno-infinite-recursion $options /checks/c/$program.c -o $program -pthread -lm
    timeout 60 ./$program > output || echo "$program $options: status $?"
    sha256sum < output | cut -c 1-16
  done
  cat output
done
# The compiler's own output and the archive tools.
gcc -O2 -S -o - /checks/c/language.c | sha256sum
gcc -O2 -c /checks/c/vectors.c -o vectors.o
objdump -d vectors.o | sha256sum
ar rcD test.a vectors.o && nm test.a | head -n 5
