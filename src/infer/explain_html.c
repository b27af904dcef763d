/* One page that needs nothing but itself: style, script and the weights as JSON. The
 * script puts texts into the page as text, never as markup, and a policy forbids it
 * to load anything. An explanation shows where a translation looked; an attribution also what
 * each answer rests on. */
#include <stdlib.h>

#include "base/file.h"
#include "infer/attribution.h"
#include "infer/explain_json.h"

static const char *const HEAD[] = {
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'\">\n<title>Where each word looked</title>\n<style>\n",
    ":root{--bg:#fbfaf8;--fg:#22252b;--soft:#6a707c;--line:#dcd9d3;--card:#fff;--accent:#2a5bd7;--r:42;--g:91;--b:215}\n",
    "@media (prefers-color-scheme:dark){:root{--bg:#16181d;--fg:#e7e8ea;--soft:#9298a5;--line:#31353e;--card:#1e2128;"
    "--accent:#7ea6ff;--r:126;--g:166;--b:255}}\n",
    "*{box-sizing:border-box}\n",
    "body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,"
    "\"Noto Sans\",\"Noto Sans CJK SC\",sans-serif}\n",
    "main{max-width:72rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}\n",
    "h1{font-size:1.35rem;font-weight:650;margin:0 0 1rem}\nh2{font-size:.95rem;font-weight:650;margin:0 0 .6rem}\n",
    ".card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.1rem;margin:0 0 1rem}\n",
    ".hint{color:var(--soft);font-size:.85rem;margin:.5rem 0 0}\n",
    ".who{color:var(--soft);font-size:.78rem;margin:.25rem 0 .1rem}\n",
    ".text{font-size:1.12rem;line-height:2;margin:0;overflow-wrap:anywhere}\n",
    ".tok{border-radius:4px;padding:.12em .06em;transition:background .1s;cursor:default}\n",
    ".tok.on{outline:2px solid var(--accent);outline-offset:1px}\n",
    ".bar{display:flex;flex-wrap:wrap;gap:.5rem 1.4rem;align-items:center;margin:0 0 .9rem}\n",
    ".seg{display:inline-flex;border:1px solid var(--line);border-radius:7px;overflow:hidden;flex-wrap:wrap}\n",
    ".seg button{all:unset;padding:.22rem .7rem;font-size:.88rem;cursor:pointer;color:var(--fg)}\n",
    ".seg button:hover{background:color-mix(in srgb,var(--accent) 12%,transparent)}\n",
    ".seg button[aria-pressed=true]{background:var(--accent);color:var(--card)}\n",
    ".seg button:focus-visible{outline:2px solid var(--accent);outline-offset:-2px}\n",
    ".name{color:var(--soft);font-size:.82rem;margin-right:.45rem}\n",
    ".scroll{overflow:auto;max-width:100%}\n",
    "table.map{border-collapse:collapse;font-size:.84rem}\n",
    "table.map th{font-weight:450;white-space:pre;color:var(--soft)}\n",
    "table.map thead th{height:1px;vertical-align:bottom;padding:0}\n",
    "table.map thead th span{display:block;writing-mode:vertical-rl;transform:rotate(180deg);padding:.3rem 0;"
    "margin:0 auto;max-height:9rem;overflow:hidden}\n",
    "table.map tbody th{text-align:right;padding:0 .55rem 0 0;position:sticky;left:0;background:var(--card)}\n",
    "table.map td{width:1.65rem;min-width:1.65rem;height:1.65rem;border:1px solid var(--card);border-radius:3px}\n",
    "table.map .hot{color:var(--fg);font-weight:650}\n",
    "table.map td.cell{outline:2px solid var(--fg);outline-offset:-2px}\n",
    "table.rests td{min-width:3.4rem;padding:0 .3rem;text-align:right;font-variant-numeric:tabular-nums}\n",
    "[hidden]{display:none!important}\n",
    ".say{min-height:1.6em;font-size:.88rem;color:var(--soft);margin:.6rem 0 0}\n",
    ".say b{color:var(--fg);font-weight:600;white-space:pre-wrap}\n",
    ".grid{display:grid;gap:.5rem;justify-content:start;overflow:auto}\n",
    ".grid .lab{font-size:.75rem;color:var(--soft);align-self:center;white-space:nowrap}\n",
    ".grid button{all:unset;cursor:pointer;border:1px solid var(--line);border-radius:5px;padding:2px;line-height:0}\n",
    ".grid button[aria-pressed=true],.grid button:focus-visible{border-color:var(--accent);box-shadow:0 0 0 1px var(--accent)}\n",
    ".grid canvas{width:76px;height:76px;image-rendering:pixelated;border-radius:3px}\n",
    "</style>\n</head>\n<body>\n<main>\n<h1 id=\"title\">Where each word looked</h1>\n",
    "<section class=\"card\"><p class=\"who\" id=\"from\">Source</p><p class=\"text\" id=\"source\"></p>\n",
    "<p class=\"who\" id=\"to\">Translation</p><p class=\"text\" id=\"target\"></p>\n",
    "<p class=\"hint\">Point at a word: the others are shaded by the attention between them, in the layer and head "
    "chosen below.</p></section>\n",
    "<section class=\"card\" id=\"basis\" hidden><div class=\"bar\"><span><span class=\"name\">Answer</span>"
    "<span class=\"seg\" id=\"answers\"></span></span></div>\n",
    "<div class=\"scroll\"><table class=\"map rests\" id=\"rests\"></table></div><p class=\"hint\">Blue speaks for the "
    "answer, red against it. Weights alone are not an explanation (Jain &amp; Wallace 2019): where the rows disagree, "
    "leave the word out and see what changes.</p></section>\n",
    "<section class=\"card\"><div class=\"bar\"><span><span class=\"name\">Attention</span><span class=\"seg\" id=\"kinds\">"
    "</span></span><span><span class=\"name\">Layer</span><span class=\"seg\" id=\"layers\"></span></span>"
    "<span><span class=\"name\">Head</span><span class=\"seg\" id=\"heads\"></span></span></div>\n",
    "<div class=\"scroll\"><table class=\"map\" id=\"map\"></table></div><p class=\"say\" id=\"say\" aria-live=\"polite\"></p>"
    "</section>\n",
    "<section class=\"card\"><h2>All layers and heads</h2><div class=\"grid\" id=\"grid\"></div></section>\n",
    "</main>\n<script type=\"application/json\" id=\"data\">\n",
    NULL};

static const char *const SCRIPT[] = {
    "</script>\n<script>\n\"use strict\";\n",
    "const data = JSON.parse(document.getElementById('data').textContent);\n",
    "const id = name => document.getElementById(name);\n",
    "const make = (tag, parent, text) => { const e = document.createElement(tag);"
    " if (text !== undefined) e.textContent = text; if (parent) parent.append(e); return e; };\n",
    "const rests = data.tokens !== undefined, crosses = data.cross.length > 0;\n",
    "const texts = rests ? {source: data.tokens, target: data.answers} : {source: data.source, target: data.target};\n",
    "const kinds = [\n",
    "  {key: 'cross', name: 'cross', queries: texts.target, keys: texts.source, from: 'target', to: 'source'},\n",
    "  {key: rests ? 'attention' : 'encoder_self', name: crosses ? 'encoder self' : 'self',\n",
    "   queries: texts.source, keys: texts.source, from: 'source', to: 'source'},\n",
    "  {key: 'decoder_self', name: 'decoder self', queries: texts.target,\n",
    "   keys: ['<start>', ...texts.target.slice(0, -1)], from: 'target', to: 'target', shift: 1}].filter(k => data[k.key].length);\n",
    "const state = {kind: 0, layer: kinds.length ? data[kinds[0].key].length - 1 : 0, head: -1, answer: 0};\n",
    "const layersOf = k => data[kinds[k].key];\n",
    "const mean = heads => heads[0].map((row, i) => row.map((_, j) =>"
    " heads.reduce((sum, head) => sum + head[i][j], 0) / heads.length));\n",
    "const matrix = () => { const heads = layersOf(state.kind)[state.layer];"
    " return state.head < 0 ? mean(heads) : heads[state.head]; };\n",
    "const tint = w => `rgb(var(--r) var(--g) var(--b) / ${Math.min(1, Math.sqrt(Math.max(0, w))).toFixed(3)})`;\n",
    "const label = text => text === ' ' ? '\\u2581' : text.startsWith(' ') ? text.slice(1) : text;\n",
    "const percent = w => (100 * w).toFixed(w < 0.1 ? 1 : 0) + ' %';\n",
    "let current;\n",
    "const spans = {};\n",
    "for (const side of ['source', 'target']) {\n",
    "  const words = texts[side][0] === '[CLS]'; /* WordPiece has no blanks of its own */\n",
    "  spans[side] = texts[side].map((text, i) => {\n",
    "    if (words && i > 0 && !text.startsWith('##')) id(side).append(' ');\n",
    "    const s = make('span', id(side), words ? text.replace(/^##/, '') : text); s.className = 'tok';\n",
    "    s.style.whiteSpace = 'pre-wrap';\n",
    "    s.addEventListener('mouseenter', () => pointAt(side, i)); s.addEventListener('mouseleave', clear);\n",
    "    return s; });\n",
    "}\n",
    "function clear() {\n",
    "  for (const side of ['source', 'target']) for (const s of spans[side]) { s.style.background = ''; s.classList.remove('on'); }\n",
    "  for (const e of document.querySelectorAll('.hot, .cell')) e.classList.remove('hot', 'cell');\n",
    "  id('say').textContent = '';\n",
    "}\n",
    "function shade(side, weights, shift) {\n",
    "  weights.forEach((w, j) => { const s = spans[side][j - (shift || 0)]; if (s) s.style.background = tint(w); });\n",
    "}\n",
    "function showRow(i, j) {\n",
    "  clear();\n",
    "  const k = kinds[state.kind], row = current[i];\n",
    "  spans[k.from][i].classList.add('on');\n",
    "  shade(k.to, row, k.shift);\n",
    "  const rows = id('map').tBodies[0].rows; rows[i].firstChild.classList.add('hot');\n",
    "  const order = row.map((w, n) => [w, n]).sort((a, b) => b[0] - a[0]).slice(0, 3);\n",
    "  const say = id('say');\n",
    "  make('b', say, label(k.queries[i]));\n",
    "  if (j !== undefined) {\n",
    "    rows[i].children[j + 1].classList.add('cell'); id('map').tHead.rows[0].children[j + 1].classList.add('hot');\n",
    "    say.append(' \\u2192 '); make('b', say, label(k.keys[j])); say.append(' ' + percent(row[j]) + '; most:');\n",
    "  } else say.append(' looked most at');\n",
    "  for (const [w, n] of order) { say.append(' '); make('b', say, label(k.keys[n])); say.append(' ' + percent(w)); }\n",
    "}\n",
    "function pointAt(side, i) {\n",
    "  const k = kinds[state.kind];\n",
    "  if (!k) return;\n",
    "  if (side === k.from) return showRow(i);\n",
    "  if (side !== k.to) { clear(); return; }\n",
    "  clear(); spans[side][i].classList.add('on');\n",
    "  shade(k.from, current.map(row => row[i]));\n",
    "  id('map').tHead.rows[0].children[i + 1].classList.add('hot');\n",
    "}\n",
    "function choose(holder, names, chosen, act) {\n",
    "  holder.replaceChildren();\n",
    "  names.forEach(([name, value]) => { const b = make('button', holder, name); b.type = 'button';\n",
    "    b.setAttribute('aria-pressed', value === chosen); b.addEventListener('click', () => { act(value); draw(); }); });\n",
    "}\n",
    "function drawMap() {\n",
    "  const k = kinds[state.kind], table = id('map');\n",
    "  current = matrix(); table.replaceChildren();\n",
    "  const top = make('tr', make('thead', table)); make('th', top);\n",
    "  k.keys.forEach(t => make('span', make('th', top), label(t)));\n",
    "  const body = make('tbody', table);\n",
    "  current.forEach((row, i) => {\n",
    "    const line = make('tr', body); make('th', line, label(k.queries[i])).scope = 'row';\n",
    "    row.forEach((w, j) => { const cell = make('td', line); cell.style.background = tint(w);\n",
    "      cell.addEventListener('mouseenter', () => showRow(i, j)); });\n",
    "  });\n",
    "  table.onmouseleave = clear;\n",
    "}\n",
    "function drawThumb(canvas, weights) {\n",
    "  const style = getComputedStyle(document.documentElement), part = n => +style.getPropertyValue(n);\n",
    "  const r = part('--r'), g = part('--g'), b = part('--b');\n",
    "  canvas.width = weights[0].length; canvas.height = weights.length;\n",
    "  const context = canvas.getContext('2d'), image = context.createImageData(canvas.width, canvas.height);\n",
    "  weights.flat().forEach((w, n) => image.data.set([r, g, b, 255 * Math.min(1, Math.sqrt(Math.max(0, w)))], 4 * n));\n",
    "  context.putImageData(image, 0, 0);\n",
    "}\n",
    "function drawGrid() {\n",
    "  const grid = id('grid'), layers = layersOf(state.kind); grid.replaceChildren();\n",
    "  const most = Math.max(...layers.map(heads => heads.length));\n",
    "  grid.style.gridTemplateColumns = `auto repeat(${most}, max-content)`;\n",
    "  make('span', grid); for (let h = 0; h < most; h++) make('span', grid, 'head ' + h).className = 'lab';\n",
    "  layers.forEach((heads, l) => { make('span', grid, 'layer ' + l).className = 'lab';\n",
    "    heads.forEach((weights, h) => { const b = make('button', grid); b.type = 'button';\n",
    "      b.title = `layer ${l}, head ${h}`; b.setAttribute('aria-label', b.title);\n",
    "      b.setAttribute('aria-pressed', l === state.layer && h === state.head);\n",
    "      b.addEventListener('click', () => { state.layer = l; state.head = h; draw(); });\n",
    "      drawThumb(make('canvas', b), weights); });\n",
    "    for (let h = heads.length; h < most; h++) make('span', grid); });\n",
    "}\n",
    "function drawBasis() {\n",
    "  const table = id('rests'), top = make('tr', make('thead', table)), n = state.answer; table.replaceChildren(top.parentNode);\n",
    "  make('th', top); texts.source.forEach(t => make('span', make('th', top), label(t)));\n",
    "  const body = make('tbody', table), p = Math.exp(data.log_probabilities[n]);\n",
    "  choose(id('answers'), texts.target.map((t, i) => [label(t) + (i === n ? ', probability ' + p.toFixed(4) : ''), i]), n,"
    " v => { state.answer = v; });\n",
    "  const rows = [['rollout', data.rollout[n]], ['gradient \\u00d7 input', data.gradient_times_input[n]]];\n",
    "  if (data.pooling) rows.unshift(['pooling', data.pooling]);\n",
    "  for (const [name, values] of rows) { const line = make('tr', body); make('th', line, name).scope = 'row';\n",
    "    const most = Math.max(...values.map(Math.abs)) || 1;\n",
    "    for (const v of values) { const cell = make('td', line, v === null ? '' : v.toFixed(3)), part = Math.abs(v) / most;\n",
    "      cell.style.background = v < 0 ? `rgb(214 69 65 / ${(0.75 * part).toFixed(3)})`"
    " : `rgb(var(--r) var(--g) var(--b) / ${(0.75 * part).toFixed(3)})`; } }\n",
    "}\n",
    "function draw() {\n",
    "  if (rests) drawBasis();\n",
    "  if (!kinds.length) return;\n",
    "  const layers = layersOf(state.kind);\n",
    "  if (state.head >= layers[state.layer].length) state.head = -1;\n",
    "  choose(id('kinds'), kinds.map((k, i) => [k.name, i]), state.kind, v => { state.kind = v;\n",
    "    state.layer = Math.min(state.layer, layersOf(v).length - 1); });\n",
    "  choose(id('layers'), layers.map((_, i) => [i, i]), state.layer, v => { state.layer = v; });\n",
    "  choose(id('heads'), [['mean', -1], ...layers[state.layer].map((_, i) => [i, i])], state.head, v => { state.head = v; });\n",
    "  clear(); drawMap(); drawGrid();\n",
    "}\n",
    "matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);\n",
    "if (rests) { id('title').textContent = document.title = 'What the answer rests on'; id('basis').hidden = false; }\n",
    "if (rests && !crosses) { id('from').textContent = 'Text'; id('to').textContent = 'Answer'; }\n",
    "for (const name of ['map', 'grid']) id(name).closest('section').hidden = !kinds.length;\n",
    "draw();\n</script>\n</body>\n</html>\n",
    NULL};

static void write_lines(const char *const *lines, FILE *out) {
    for (; *lines; lines++) {
        (void)fputs(*lines, out);
    }
}

static attn_status write_page(const char *path, const attn_explanation *e, const attn_attribution *a) {
    char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);
    if (!out) {
        return fail(ATTN_ERROR_MEMORY, "out of memory for the page");
    }
    write_lines(HEAD, out);
    e ? write_explanation_json(e, 4, out) : write_attribution_json(a, 4, out);
    write_lines(SCRIPT, out);
    int failed = ferror(out) | fclose(out);
    attn_status status = failed ? fail(ATTN_ERROR_MEMORY, "out of memory for the page") : file_replace(path, page, size);
    free(page);
    return status;
}

attn_status attn_explanation_write_html(const attn_explanation *explanation, const char *path) {
    return explanation && path ? write_page(path, explanation, NULL)
                               : fail(ATTN_ERROR_ARGUMENT, "an explanation and a path were expected");
}

attn_status attn_attribution_write_html(const attn_attribution *attribution, const char *path) {
    return attribution && path ? write_page(path, NULL, attribution)
                               : fail(ATTN_ERROR_ARGUMENT, "an attribution and a path were expected");
}
