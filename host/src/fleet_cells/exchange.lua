-- One exchange of a table: applies what a gateway has changed, and gives what has changed since the last time.
--
-- KEYS   values: cell -> value; order: the cells by the number of their last change; state: epoch and version;
--        batch: the number of the last batch that this gateway had applied
-- ARGV   rule; epoch that the gateway knows, or nothing; epoch to begin if there is none; number of the last change that
--        the gateway has seen; at most so many changes back; number of its batch; milliseconds to keep it all; and then
--        cell, value, cell, value, ...
-- Gives  'ok' or 'lost' (the store is another than the gateway knew; nothing was applied), epoch, number of the last
--        change given, and then cell, value, cell, value, ...
local values, order, state, batch = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local rule, known, fresh, since, most, number, keep = unpack(ARGV, 1, 7)

local epoch = redis.call('HGET', state, 'epoch')
local version = tonumber(redis.call('HGET', state, 'version') or '0')
if not epoch or (version > 0 and redis.call('EXISTS', values, order) < 2) then
  redis.call('DEL', values, order, state)
  epoch, version = fresh, 0
  redis.call('HSET', state, 'epoch', epoch)
  redis.call('PEXPIRE', state, keep)
end
if known ~= '' and known ~= epoch then return {'lost', epoch, '0'} end

local function put(cell, value)
  version = version + 1
  redis.call('HSET', values, cell, string.format('%.17g', value))
  redis.call('ZADD', order, version, cell)
end

if rule == 'seed' then
  for i = 8, #ARGV, 2 do
    if redis.call('HEXISTS', values, ARGV[i]) == 0 then put(ARGV[i], tonumber(ARGV[i + 1])) end
  end
-- A batch whose answer was lost comes again.
elseif tonumber(redis.call('GET', batch) or '0') < tonumber(number) then
  for i = 8, #ARGV, 2 do
    local old, value = tonumber(redis.call('HGET', values, ARGV[i]) or '0'), tonumber(ARGV[i + 1])
    if rule == 'sum' then value = old + value elseif rule == 'max' then value = math.max(old, value) end
    -- Infinities are no numbers of a cell.
    if value ~= old and value - value == 0 then put(ARGV[i], value) end
  end
  redis.call('SET', batch, number, 'PX', keep)
end
redis.call('HSET', state, 'version', version)
for _, key in ipairs({values, order, state}) do redis.call('PEXPIRE', key, keep) end

local answer = {'ok', epoch, since}
local changed = redis.call('ZRANGEBYSCORE', order, '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #changed, 2 do
  answer[#answer + 1] = changed[i]
  answer[#answer + 1] = redis.call('HGET', values, changed[i])
  answer[3] = changed[i + 1]
end
return answer
