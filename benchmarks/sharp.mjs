// What sharp makes of an upload, in one thread: prints seconds of the processors, seconds, and bytes of memory above
// what the process had before. Arguments: a picture to warm up with, the picture, and where to write the result.
import { readFileSync, writeFileSync, existsSync } from "node:fs";
import sharp from "sharp";

sharp.concurrency(1);
sharp.cache(false);

const STATUS = "/proc/self/status";
const thumbnail = (data) =>
  sharp(data).rotate().resize(300, 300, { fit: "cover" }).flatten({ background: "#fff" }).jpeg({ quality: 85 }).toBuffer();
const memory = (name) =>
  existsSync(STATUS) ? 1024 * Number(readFileSync(STATUS, "utf8").match(new RegExp(`${name}:\\s+(\\d+)`))[1]) : null;

const [warmUp, picture, result] = process.argv.slice(2);
await thumbnail(readFileSync(warmUp));
const data = readFileSync(picture);
if (existsSync("/proc/self/clear_refs")) writeFileSync("/proc/self/clear_refs", "5");
const before = memory("VmRSS");
const cpu = process.cpuUsage();
const start = performance.now();
const made = await thumbnail(data);
const wall = (performance.now() - start) / 1e3;
const { user, system } = process.cpuUsage(cpu);
console.log(JSON.stringify([(user + system) / 1e6, wall, before === null ? null : Math.max(0, memory("VmHWM") - before)]));
if (result) writeFileSync(result, made);
