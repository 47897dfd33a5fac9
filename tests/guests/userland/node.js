// V8: its compilers, inline caches that rewrite themselves, typed arrays, WebAssembly, big integers, collection, workers.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');
const show = (name, ...values) => console.log(`${name}:`, ...values);
const hash = (text) => crypto.createHash('sha256').update(text).digest('hex').slice(0, 24);

let sum = 0;
for (let i = 0; i < 2e7; i++) sum = (sum + i * 3) % 1000003;
show('loop', sum);

const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
show('fib', fib(27));

const floats = new Float64Array(100000).map((_, i) => Math.sin(i) * Math.exp((i % 50) / 10) + Math.cbrt(i) - Math.atan2(i, 7));
show('floats', floats.reduce((a, b) => a + b).toPrecision(12));

class Shape { area() { return 0; } }
class Square extends Shape { constructor(a) { super(); this.a = a; } area() { return this.a * this.a; } }
class Circle extends Shape { constructor(r) { super(); this.r = r; } area() { return 3 * this.r * this.r; } }
class Box extends Square { constructor(a, b) { super(a); this.b = b; } area() { return this.a * this.b; } }
let area = 0;
for (let i = 0; i < 300000; i++) area += [new Square(i % 9), new Circle(i % 5), new Box(i % 3, 2)][i % 3].area();
show('shapes', area);

// Functions made at run time, optimised, then given other types: deoptimisation.
let made = 0;
for (let i = 1; i <= 300; i++) {
  const f = new Function('a', 'b', `let s = 0; for (let k = 0; k < 300; k++) s += a * ${i} % (b + k); return s;`);
  made += f(i, 3) + f(i / 2, 5) + Number(f('7', 2));
}
show('functions', made);

const map = new Map();
for (let i = 0; i < 100000; i++) map.set(`k${(i * 7919) % 10007}`, i);
show('map', map.size, [...map.values()].reduce((a, b) => a + b));

let big = 1n;
for (let i = 1n; i <= 400n; i++) big *= i;
show('bigint', hash(big.toString()), big % 1000000007n, BigInt.asIntN(64, big ^ 0x123456789abcdefn));

const text = JSON.stringify(Array.from({ length: 20000 }, (_, i) => ({ id: i, name: `n${i % 77}`, value: i / 7 })));
show('json', hash(text), JSON.parse(text).filter((o) => /7$/.test(o.name)).length);
show('text', hash(text.replace(/"n(\d)(\d)"/g, '"$2$1"').split('').reverse().join('').toUpperCase()));
show('zlib', zlib.gunzipSync(zlib.gzipSync(text)).toString() === text, zlib.brotliDecompressSync(zlib.brotliCompressSync(text.slice(0, 50000))).length);
show('sort', hash(Int32Array.from({ length: 100000 }, (_, i) => (i * 48271) % 65537).sort().join()));

const garbage = [];
for (let i = 0; i < 300000; i++) garbage[i % 1000] = { i, list: [i, i + 1], text: `${i}` };
show('garbage', garbage.reduce((a, o) => a + o.list[1], 0));

// (module (func (export "f") (param i32) (result i32) loop: product and sum))
const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 30, 1,
  28, 1, 1, 127, 3, 64, 32, 1, 65, 31, 108, 32, 0, 106, 33, 1, 32, 0, 65, 1, 107, 34, 0, 13, 0, 11, 32, 1, 11]);
show('wasm', new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports.f(1000000));

const { Worker } = require('worker_threads');
const worker = new Worker("const { parentPort } = require('worker_threads'); let s = 0; for (let i = 0; i < 3e6; i++) s = (s * 31 + i) | 0; parentPort.postMessage(s);", { eval: true });
worker.on('message', (value) => {
  show('worker', value);
  (async () => {
    let steps = 0;
    for (let i = 0; i < 20000; i++) steps += await i % 3;
    show('async', steps);
  })();
});
