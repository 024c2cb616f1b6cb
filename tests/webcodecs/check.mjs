// Chromium decodes a recorded H.264 stream: every access unit becomes a picture, in order.
// usage: node check.mjs FILE WIDTH HEIGHT COUNT, FILE in the byte stream format of H.264, Annex B

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const SLICE = 1, IDR_SLICE = 5, SEI = 6, SPS = 7, DELIMITER = 9;

// Begins and payloads' begins of all NAL units.
function findNals(bytes) {
  const nals = [];
  for (let at = bytes.indexOf(1, 2); at >= 0; at = bytes.indexOf(1, at + 1)) {
    if (bytes[at - 1] !== 0 || bytes[at - 2] !== 0) continue;
    nals.push({ begin: bytes[at - 3] === 0 ? at - 3 : at - 2, at: at + 1 });
  }
  return nals;
}

// Where access units begin and what they are: 7.4.1.2.3 of H.264, as far as our encoders need it.
function splitUnits(bytes) {
  const units = [];
  let hasSlice = true;
  for (const { begin, at } of findNals(bytes)) {
    const type = bytes[at] & 0x1f;
    const isSlice = type === SLICE || type === IDR_SLICE;
    // first_mb_in_slice is 0 if the first bit of its Exp-Golomb code is 1.
    const isFirst = isSlice ? (bytes[at + 1] & 0x80) !== 0 : type >= SEI && type <= DELIMITER;
    if (hasSlice && isFirst) {
      units.push({ begin, isKey: false });
      hasSlice = false;
    }
    const unit = units.at(-1);
    unit.isKey ||= type === IDR_SLICE;
    if (type === SPS) {
      unit.codec ??= 'avc1.' + bytes.subarray(at + 1, at + 4).toString('hex');
    }
    hasSlice ||= isSlice;
  }
  return units.map((unit, index) => ({ ...unit, end: units[index + 1]?.begin ?? bytes.length }));
}

// Runs in the page.
async function decode(units) {
  const bytes = new Uint8Array(await (await fetch('/stream')).arrayBuffer());
  const report = { frames: [], errors: [] };
  const decoder = new VideoDecoder({
    output(frame) {
      const { displayWidth, displayHeight, codedWidth, codedHeight, timestamp } = frame;
      const { matrix, fullRange } = frame.colorSpace;
      report.frames.push({
        timestamp, displayWidth, displayHeight, codedWidth, codedHeight, matrix, fullRange,
      });
      frame.close();
    },
    error(error) {
      report.errors.push(String(error));
    },
  });
  const config = { codec: units[0].codec, optimizeForLatency: true };
  report.isSupported = (await VideoDecoder.isConfigSupported(config)).supported;
  decoder.configure(config);
  for (const [index, { begin, end, isKey }] of units.entries()) {
    if (decoder.state === 'closed') break;
    const data = bytes.subarray(begin, end);
    const type = isKey ? 'key' : 'delta';
    decoder.decode(new EncodedVideoChunk({ type, timestamp: index, data }));
  }
  await decoder.flush().catch((error) => report.errors.push(String(error)));
  return report;
}

async function run(bytes, units) {
  // Decoders are for pages of secure origins; localhost is one.
  const server = createServer((request, response) => {
    const isStream = request.url === '/stream';
    response.setHeader('Content-Type', isStream ? 'application/octet-stream' : 'text/html');
    response.end(isStream ? bytes : '<!doctype html><title>decoder</title>');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const folder = await mkdtemp(join(tmpdir(), 'punktfunk-chromium-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  });
  try {
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    return await page.evaluate(decode, units);
  } finally {
    await context.close();
    server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

// What is wrong with what came out, in words.
function faults(report, units, width, height, count) {
  const found = report.errors.map((error) => `the decoder says: ${error}`);
  if (units.length !== count) found.push(`${units.length} access units of ${count}`);
  if (!report.isSupported) found.push(`${units[0].codec} is not supported`);
  if (report.frames.length !== units.length) {
    found.push(`${report.frames.length} pictures of ${units.length} access units`);
  }
  report.frames.forEach((frame, index) => {
    if (frame.timestamp !== index) found.push(`picture ${index} is that of ${frame.timestamp}`);
    if (frame.displayWidth !== width || frame.displayHeight !== height) {
      found.push(`picture ${index} is ${frame.displayWidth}x${frame.displayHeight}`);
    }
  });
  return found;
}

const [file, ...numbers] = process.argv.slice(2);
const bytes = await readFile(file);
const units = splitUnits(bytes);
if (!units[0]?.isKey) throw new Error('no IDR picture at the beginning');
const report = await run(bytes, units);
const found = faults(report, units, ...numbers.map(Number));
console.log(`${report.frames.length} pictures of ${units.length} access units, ${units[0].codec}`);
for (const fault of found.slice(0, 10)) console.error(fault);
process.exitCode = found.length === 0 ? 0 : 1;
