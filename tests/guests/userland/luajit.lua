-- Traces that its compiler makes, on pages that it also writes: floats, tables, strings, FFI, side exits, coroutines.
local ffi, bit = require("ffi"), require("bit")

local function show(name, ...) print(name .. ":", ...) end

local function hash(text)
  local h = 5381
  for i = 1, #text do h = bit.tobit(bit.bxor(bit.lshift(h, 5) + h, text:byte(i))) end
  return bit.tohex(h)
end

local sum = 0
for i = 1, 1e7 do sum = sum + i % 7 * 0.5 end
show("loop", sum)

local x = 12345
local values = {}
for i = 1, 200000 do x = (x * 16807) % 2147483647; values[i] = x end
table.sort(values)
show("sort", values[1], values[100000], values[200000])

local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
show("fib", fib(30))

local grid = ffi.new("double[400][400]")
for round = 1, 5 do
  for i = 1, 398 do
    for j = 1, 398 do
      grid[i][j] = (grid[i - 1][j] + grid[i + 1][j] + grid[i][j - 1] + grid[i][j + 1] + i * j % 11) / 4.5
    end
  end
end
show("grid", string.format("%.14g %.14g", grid[200][200], grid[397][1]))

local wide = 1ULL
for i = 1, 1e6 do wide = wide * 6364136223846793005ULL + 1442695040888963407ULL end
show("wide", tostring(wide))

local words = {}
for i = 1, 30000 do words[#words + 1] = ("w%d_%x"):format(i % 977, i * 2654435) end
local text = table.concat(words, " ")
show("text", #text, hash(text), select(2, text:gsub("(%d)_(%x)", "%2-%1")), hash(text:upper():reverse()))

-- Many small functions compiled one after another: code is written beside code that runs.
local total = 0
for i = 1, 1500 do
  local f = assert(loadstring(("local s = %d; for k = 1, 200 do s = (s * %d + k) %% 65521 end; return s"):format(i, i % 50 + 3)))
  total = total + f()
end
show("functions", total)

-- Types that change under a trace: side exits.
local mixed = 0
local kinds = { 1, 2.5, "7", 4, 9007199254740993, "0x10" }
for i = 1, 300000 do mixed = mixed + kinds[i % 6 + 1] % 1000 end
show("mixed", string.format("%.10g", mixed))

local function producer(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i * i % 17) end end) end
local got = 0
for v in producer(100000) do got = got + v end
show("coroutines", got)

local mathematics = 0
for i = 1, 500000 do mathematics = mathematics + math.sin(i) * math.floor(i / 3) - math.sqrt(i) + math.exp(-i % 10) end
show("math", string.format("%.9g", mathematics))

ffi.cdef [[ typedef int (*Compare)(const int*, const int*); void qsort(int*, size_t, size_t, Compare); ]]
local numbers = ffi.new("int[50]")
for i = 0, 49 do numbers[i] = (i * 37) % 101 end
local compare = ffi.cast("Compare", function(a, b) return a[0] - b[0] end)
ffi.C.qsort(numbers, 50, 4, compare)
compare:free()
local ordered = {}
for i = 0, 49 do ordered[#ordered + 1] = numbers[i] end
show("callback", table.concat(ordered, " "))
