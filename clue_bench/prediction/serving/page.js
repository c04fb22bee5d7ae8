"use strict";
const SHOWN = 8;  // labels at first
const at = id => document.getElementById(id);
let served = null;

const KIND = {
  400: "请求有误。", 404: "没有这个模型。", 408: "网络太慢,请重试。", 413: "文本太长了。", 422: "请检查输入的文本。",
  429: "请求太频繁了,请稍等片刻再试。", 500: "模型出错了,请换一段文本或稍后再试。", 503: "服务器正忙,请稍后再试。",
};

function complain(text, hint) {
  at("problem-text").textContent = text;
  at("problem-hint").textContent = hint || "";
  at("problem").hidden = !text;
  if (text) at("result").hidden = true;
}

function chosen() {
  return served.models.find(each => each.run_id === at("model").value) || served.models[0];
}

function name(label) {
  return label.description ? `${label.description} (${label.label})` : label.label;
}

function titleOf(model) {
  return model.title || model.task || model.run_id;
}

function show() {  // what depends on the model
  const model = chosen();
  const pair = model.choices_from ? model.choices_from === 2 : model.num_texts !== 1;
  at("second-row").hidden = !pair;
  at("choices-row").hidden = !model.choices_from;
  at("lead").textContent = [model.title || model.task, model.run_id].filter(Boolean).join(" · ");
  at("first-label").firstChild.textContent = pair ? "第一段文本 " : "文本 ";
  at("first-label").lastElementChild.textContent = pair ? "First text" : "Text";
  at("second-label").lastElementChild.textContent = model.num_texts === null && !model.choices_from
    ? "Second text, if any" : "Second text";
  at("labels").textContent = model.labels.map((label, n) => name({label, description: model.descriptions[n]})).join(" · ");
  const row = new Array(model.choices_from ? model.choices_from + 2 : model.num_texts === 2 ? 2 : 1).fill("…");
  const example = JSON.stringify({model: model.run_id, texts: [row], top: 3});
  at("curl").textContent = `curl ${location.origin}${location.pathname}predict \\\n  --json '${example}'`;
  complain("");
  at("result").hidden = true;
  count();
}

function count() {
  for (const id of ["first", "second"]) {
    const length = [...at(id).value].length;
    at(`${id}-count`).textContent = `${length} / ${served.max_text_chars}`;
    at(`${id}-count`).classList.toggle("over", length > served.max_text_chars);
  }
}

function bar(label) {
  const row = document.createElement("li");
  const parts = ["name", "track", "share"].map(kind => {
    const part = document.createElement("span");
    part.className = kind;
    return row.appendChild(part);
  });
  parts[0].textContent = name(label);
  const fill = parts[1].appendChild(document.createElement("span"));
  fill.className = "fill";
  fill.style.width = `${100 * label.probability}%`;
  parts[2].textContent = `${(100 * label.probability).toFixed(1)} %`;
  return row;
}

function present(prediction, texts, milliseconds) {
  const named = prediction.entities?.map(each => ({...each, label: `${each.text} ${each.label}`}));
  const labels = named || prediction.labels;
  const draw = number => at("bars").replaceChildren(...labels.slice(0, number).map(bar));
  const total = labels.length;
  at("result-text").textContent = texts.map(text => text.length > 60 ? `${text.slice(0, 60)}…` : text).join(" | ");
  at("answer").textContent = named ? named.map(name).join(" · ") || "没有实体 No entity" : name(prediction);
  draw(SHOWN);
  at("all").hidden = total <= SHOWN;
  at("all").textContent = `全部 ${total} 个标签 Show all`;
  at("all").onclick = () => { draw(total); at("all").hidden = true; };
  at("took").textContent = `${milliseconds.toFixed(0)} ms`;
  at("result").hidden = false;
}

async function ask(event) {
  event.preventDefault();
  if (!served) return load();
  const model = chosen();
  const texts = [at("first").value];
  const second = at("second").value;
  if (model.choices_from ? model.choices_from === 2 : model.num_texts === 2 || (model.num_texts === null && second.trim())) {
    texts.push(second);
  }
  const blank = texts.findIndex(text => !text.trim());
  const empty = model.choices_from && texts.some(text => text.trim()) ? -1 : blank;  // a blank may begin a text
  if (empty >= 0) {
    complain("请先输入文本。 Please type a text first.");
    at(["first", "second"][empty]).focus();
    return;
  }
  const long = texts.findIndex(text => [...text].length > served.max_text_chars);
  if (long >= 0) {
    complain("文本太长了,请缩短到 " + served.max_text_chars + " 字以内。", "The text is too long.");
    at(["first", "second"][long]).focus();
    return;
  }
  if (model.choices_from) {
    const choices = at("choices").value.split("\n").map(each => each.trim()).filter(Boolean);
    if (choices.length < 2) {
      complain("请至少输入两个选项,一行一个。", "Please type two choices or more, one a line.");
      at("choices").focus();
      return;
    }
    texts.push(...choices);
  }
  complain("");
  at("go").disabled = true;
  const started = performance.now();
  try {
    const response = await fetch("predict", {
      method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({model: model.run_id, texts: [texts.map(text => text.toWellFormed ? text.toWellFormed() : text)]}),
    });
    const body = await response.json();
    if (response.ok) present(body.predictions[0], texts, performance.now() - started);
    else complain(KIND[response.status] || "出错了。", `${body.error}${body.hint ? ` — ${body.hint}` : ""}`);
  } catch {
    complain("连不上服务器,请检查网络后重试。", "The server does not answer; please try again.");
  } finally {
    at("go").disabled = false;
  }
}

async function load() {
  try {
    const response = await fetch("models");
    served = await response.json();
    const titles = served.models.map(titleOf);
    at("model").replaceChildren(...served.models.map(each => new Option(
      titles.filter(title => title === titleOf(each)).length > 1 ? `${titleOf(each)} · ${each.run_id}` : titleOf(each),
      each.run_id)));
    at("model-row").hidden = served.models.length < 2;
    show();
  } catch {
    complain("连不上服务器,请稍后刷新页面。", "The server does not answer; please reload later.");
  }
}

at("form").addEventListener("submit", ask);
at("model").addEventListener("change", show);
for (const id of ["first", "second", "choices"]) {
  at(id).addEventListener("input", () => served && count());
  at(id).addEventListener("keydown", event => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask(event);
  });
}
load();
