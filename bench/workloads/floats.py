"""Floating point and big integers in Python. Library functions may differ in the last bit: rounded when printed."""
import math
import sys


def waves(count):
    return sum(math.sin(i * 0.001) * math.exp(-i / count) + math.sqrt(i) for i in range(count))


def matrix(side):
    a = [[(i * j) % 7 + 0.5 for j in range(side)] for i in range(side)]
    columns = list(zip(*a))
    return sum(sum(x * y for x, y in zip(row, column)) for row in a for column in columns)


def digits(count):
    number = 1
    for i in range(1, count):
        number *= i
    return sum(map(int, str(number)))


for turn in range(int(sys.argv[1])):
    answer = waves(20000 + turn), matrix(36), digits(400)
print("%.9g %.9g %d" % answer)
