# A database on disk: indexes, joins, windows, triggers, full text, JSON, then its own integrity check.
sqlite3 test.db < /checks/sqlite.sql
sqlite3 test.db .dump | sha256sum
sqlite3 copy.db ".restore test.db" "pragma integrity_check" "select count(*), sum(a), total(x) from t"
