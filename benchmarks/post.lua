-- For wrk: sends the bodies of a file, one a line, in turn, with a bearer key where TOKEN has one; says what it saw
-- as one line of JSON.
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do
  bodies[#bodies + 1] = line
end

local headers = { ["Content-Type"] = "application/json" }
if os.getenv("TOKEN") then
  headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
end

local requests, turn = {}, 0

function init()
  for place = 1, #bodies do
    requests[place] = wrk.format("POST", wrk.path, headers, bodies[place])
  end
end

function request()
  turn = turn + 1
  return requests[turn % #requests + 1]
end

function done(summary, latency)
  local lost = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50":%.4f,"p95":%.4f,"p99":%.4f,"refused":%d,"lost":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(95) / 1000,
    latency:percentile(99) / 1000, summary.errors.status, lost))
end
