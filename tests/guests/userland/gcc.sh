# Compiles C programs and runs them.
for program in floats vectors signals threads language; do
  gcc -std=gnu11 -Wall -Wextra -Werror -Wno-infinite-recursion -O2 /checks/c/$program.c -o $program -pthread -lm
  timeout 60 ./$program || echo "$program: status $?"
done
# The compiler's own output and the archive tools.
gcc -O2 -S -o - /checks/c/language.c | sha256sum
gcc -O2 -c /checks/c/vectors.c -o vectors.o
objdump -d vectors.o | sha256sum
ar rcD test.a vectors.o && nm test.a | head -n 5
