// A mobile network in plain JavaScript: an image is resized as the library does it, and scored. No network, no library.
"use strict";
const network = JSON.parse(document.getElementById("network").textContent);
const weights = halves(Uint8Array.from(atob(network.weights), (letter) => letter.charCodeAt(0)));

function halves(bytes) {
  const view = new DataView(bytes.buffer), values = new Float32Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) {
    const bits = view.getUint16(2 * i, true), sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    values[i] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : (2 ** -14 * fraction) / 1024);
  }
  return values;
}

// What each of `size` places takes of `length` ones: bicubic (a = -0.5), as wide as a place where the image is reduced.
function taps(length, size) {
  const scale = length / size, wide = Math.max(1, scale), all = [];
  const cubic = (x) => {
    x = Math.abs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
  };
  for (let i = 0; i < size; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - 2 * wide + 0.5));
    const last = Math.min(length, Math.floor(centre + 2 * wide + 0.5));
    const shares = [];
    for (let k = first; k < last; k++) shares.push(cubic((k - centre + 0.5) / wide));
    const sum = shares.reduce((a, b) => a + b, 0);
    all.push([first, shares.map((share) => share / sum)]);
  }
  return all;
}

// Pixels (height, width, channels 4 or 3) -> (height, size, 3), each row by itself; values rounded to 0…255.
function alongRows(pixels, height, width, channels, size) {
  const made = new Uint8ClampedArray(height * size * 3), places = taps(width, size);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < size; x++) {
      const [first, shares] = places[x];
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < shares.length; k++) sum += shares[k] * pixels[(y * width + first + k) * channels + c];
        made[(y * size + x) * 3 + c] = Math.floor(sum + 0.5);
      }
    }
  return made;
}

function turned(pixels, height, width) {
  const made = new Uint8ClampedArray(pixels.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) made[(x * height + y) * 3 + c] = pixels[(y * width + x) * 3 + c];
  return made;
}

// RGBA -> normalised planes (3, height, width) with the shorter side as the network sees it.
function shown(pixels, width, height) {
  const side = network.shorter_side, factor = side / Math.min(width, height);
  const even = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));
  const w = Math.max(side, even(width * factor)), h = Math.max(side, even(height * factor));
  const rows = alongRows(pixels, height, width, 4, w);
  const image = turned(alongRows(turned(rows, height, w), w, height, 3, h), w, h);
  const planes = new Float32Array(3 * h * w);
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < h * w; i++) planes[c * h * w + i] = (image[3 * i + c] / 255 - network.mean[c]) / network.std[c];
  return { planes, h, w };
}

// A pointwise convolution, four channels at a time: each place is read and written a quarter as often.
function pointwise(x, layer, offset) {
  const { in: from, out: to } = layer, area = x.h * x.w, bias = offset + to * from, planes = new Float32Array(to * area);
  for (let o = 0; o < to; o++) {
    const plane = planes.subarray(o * area, (o + 1) * area).fill(weights[bias + o]);
    for (let c = 0; c < from; c += 4) {
      const [a, b, d, e] = [0, 1, 2, 3].map((k) => x.planes.subarray((c + k) * area, (c + k + 1) * area));
      const [wa, wb, wd, we] = weights.subarray(offset + o * from + c, offset + o * from + c + 4);
      for (let i = 0; i < area; i++) plane[i] += wa * a[i] + wb * b[i] + wd * d[i] + we * e[i];
    }
    for (let i = 0; i < area; i++) plane[i] = Math.min(6, Math.max(0, plane[i]));
  }
  return { planes, h: x.h, w: x.w, next: bias + to };
}

function convolved(x, layer, offset) {
  if (layer.kernel === 1 && layer.in % 4 === 0) return pointwise(x, layer, offset);
  const { in: from, out: to, kernel, stride, groups } = layer, pad = (kernel - 1) / 2;
  const h = Math.floor((x.h + 2 * pad - kernel) / stride) + 1, w = Math.floor((x.w + 2 * pad - kernel) / stride) + 1;
  const planes = new Float32Array(to * h * w), each = from / groups, bias = offset + to * each * kernel * kernel;
  for (let o = 0; o < to; o++) {
    const plane = planes.subarray(o * h * w, (o + 1) * h * w).fill(weights[bias + o]);
    const begin = Math.floor(o / (to / groups)) * each;
    for (let c = 0; c < each; c++) {
      const source = x.planes.subarray((begin + c) * x.h * x.w, (begin + c + 1) * x.h * x.w);
      for (let ky = 0; ky < kernel; ky++)
        for (let kx = 0; kx < kernel; kx++) {
          const weight = weights[offset + ((o * each + c) * kernel + ky) * kernel + kx];
          const left = Math.max(0, Math.ceil((pad - kx) / stride)), right = Math.min(w, Math.floor((x.w - 1 + pad - kx) / stride) + 1);
          for (let y = 0; y < h; y++) {
            const row = y * stride + ky - pad;
            if (row < 0 || row >= x.h) continue;
            for (let i = left, at = row * x.w + left * stride + kx - pad; i < right; i++, at += stride) plane[y * w + i] += weight * source[at];
          }
        }
    }
    for (let i = 0; i < plane.length; i++) plane[i] = Math.min(6, Math.max(0, plane[i]));
  }
  return { planes, h, w, next: bias + to };
}

function scored(pixels, width, height) {
  let x = shown(pixels, width, height), offset = 0, before = null;
  for (const layer of network.convolutions) {
    if (layer.groups > 1) before = x;
    const made = convolved(x, layer, offset);
    if (layer.adds) made.planes.forEach((value, i) => (made.planes[i] = value + before.planes[i]));
    offset = made.next;
    x = made;
  }
  const area = x.h * x.w, channels = x.planes.length / area, means = [], deviations = [];
  for (let c = 0; c < channels; c++) {
    let sum = 0, squares = 0;
    for (let i = c * area; i < (c + 1) * area; i++) (sum += x.planes[i]), (squares += x.planes[i] ** 2);
    means.push(sum / area);
    deviations.push(Math.sqrt(Math.max(1e-6, squares / area - (sum / area) ** 2)));
  }
  let values = [...means, ...deviations];
  for (const layer of network.dense) {
    const bias = offset + layer.in * layer.out;
    values = Array.from({ length: layer.out }, (_, o) => {
      const sum = values.reduce((total, value, i) => total + value * weights[offset + o * layer.in + i], weights[bias + o]);
      return layer.relu ? Math.max(0, sum) : sum;
    });
    offset = bias + layer.out;
  }
  const largest = Math.max(...values), powers = values.map((value) => Math.exp(value - largest));
  const total = powers.reduce((a, b) => a + b), shares = powers.map((power) => power / total);
  const vote = shares.reduce((sum, share, i) => sum + share * (i + 1), 0);
  return { shares, score: network.low + ((vote - 1) / 4) * (network.high - network.low) };
}

const say = (text) => (document.getElementById("said").textContent = text);
async function score(file) {
  const answer = document.getElementById("answer");
  answer.hidden = true;
  let image;
  try {
    image = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    return say(`${file.name}: no image that this browser can read; expected a JPEG, PNG or WebP file`);
  }
  const { width, height } = image;
  if (Math.min(width, height) < 16 || Math.max(width, height) > 8192)
    return say(`${file.name}: ${width} × ${height} pixels; expected 16 to 8,192 a side`);
  say(`${file.name}: computing …`);
  await new Promise((done) => setTimeout(done, 30));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff"; // what is transparent lies on white
  pen.fillRect(0, 0, width, height);
  pen.drawImage(image, 0, 0);
  const began = performance.now(), found = scored(pen.getImageData(0, 0, width, height).data, width, height);
  say(`${file.name}: ${width} × ${height} pixels, ${((performance.now() - began) / 1000).toFixed(1)} s on this machine`);
  answer.dataset.score = found.score;
  document.getElementById("score").textContent = found.score.toFixed(1);
  document.getElementById("mark").style.left = `${(100 * (found.score - network.low)) / (network.high - network.low)}%`;
  document.querySelectorAll("#shares rect").forEach((bar, i) => {
    bar.setAttribute("y", 20 - 20 * found.shares[i]);
    bar.setAttribute("height", 20 * found.shares[i]);
  });
  const small = document.getElementById("small");
  const kept = Math.min(1, 480 / Math.max(width, height));
  Object.assign(small, { width: Math.max(1, width * kept), height: Math.max(1, height * kept) });
  small.getContext("2d").drawImage(image, 0, 0, small.width, small.height);
  answer.hidden = false;
}

const place = document.getElementById("place"), field = document.getElementById("file");
field.addEventListener("change", () => field.files[0] && score(field.files[0]));
for (const kind of ["dragover", "drop"])
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    place.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) score(event.dataTransfer.files[0]);
  });
