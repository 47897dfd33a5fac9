-- A table of @size * 100 rows: filled, indexed, joined, updated, deleted from.
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city INTEGER, born INTEGER);
CREATE TABLE city(id INTEGER PRIMARY KEY, name TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
  INSERT INTO city SELECT i, printf('city %d', i * 7919 % 100) FROM n;
WITH RECURSIVE n(i, r) AS (SELECT 1, 12345 UNION ALL SELECT i + 1, (r * 1103515245 + 12345) % 2147483648 FROM n WHERE i < @size * 100)
  INSERT INTO person SELECT i, printf('%s-%08x', substr('annabobcarldora', r % 12 + 1, 4), r), r / 65536 % 100 + 1, 1900 + r / 256 % 120 FROM n;
COMMIT;
CREATE INDEX by_name ON person(name);
SELECT city.name, count(*), avg(born), max(person.name) FROM person JOIN city ON person.city = city.id
  GROUP BY city.id ORDER BY 2 DESC, 1 LIMIT 10;
SELECT count(*), sum(length(name)) FROM person WHERE name LIKE 'bo%' OR born BETWEEN 1950 AND 1960;
UPDATE person SET born = born + 1, name = upper(name) WHERE id % 3 = 0;
DELETE FROM person WHERE city IN (SELECT id FROM city WHERE name LIKE '%5');
SELECT count(*), sum(born), min(name), max(name) FROM person;
SELECT sum(a.born * b.born) FROM person a JOIN person b ON b.id = a.id + 1 WHERE a.city < b.city;
