-- Under LuaJIT, so the guest writes machine code and runs it: traces, exits to its interpreter, tables, strings.
local function collatz(limit)
  local best, length = 0, 0
  for start = 1, limit do
    local n, steps = start, 0
    while n ~= 1 do
      n = n % 2 == 0 and n / 2 or 3 * n + 1
      steps = steps + 1
    end
    if steps > length then best, length = start, steps end
  end
  return best
end

local function words(count)
  local seen, total = {}, 0
  for i = 1, count do
    local word = "w" .. (i * 7919 % 1000)
    seen[word] = (seen[word] or 0) + 1
    total = total + #word * seen[word]
  end
  return total
end

-- A new function each time: code is compiled, run and thrown away.
local function generated(count)
  local total = 0
  for i = 1, count do
    local f = loadstring("local s = 0 for k = 1, 200 do s = (s + k * " .. i .. ") % 65521 end return s")
    total = total + f()
  end
  return total
end

local sum = 0
for turn = 1, tonumber(arg[1]) do
  sum = sum + collatz(8000) + words(20000) + generated(300) + turn
end
print(string.format("%.0f", sum))
