// Charts of the page of queues: the samples of the last minutes, loaded again every second.
"use strict";

const HEIGHT = 140;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });
const color = (element) => getComputedStyle(element).color;

function draw(figure) {
  const place = figure.querySelector(".chart");
  const series = [...figure.querySelectorAll(".series")];
  const axis = { stroke: color(figure), grid: { stroke: getComputedStyle(place).borderTopColor, width: 1 } };
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_plot, _min, max) => [0, Math.max(max ?? 0, 1)] } },
    axes: [
      { ...axis, space: 80, values: (_plot, seconds) => seconds.map((at) => clock.format(new Date(at * 1000))) },
      { ...axis, size: 48 },
    ],
    // A latency alone among seconds without one is a point.
    series: [{}, ...series.map((item) => ({ stroke: color(item), width: 1.5, spanGaps: true, points: { show: true, size: 3 } }))],
  };
  const plot = new uPlot(options, [[], ...series.map(() => [])], place);
  const show = (history) => {
    plot.setData([history.at_unix_s, ...series.map((item) => history[item.dataset.name])]);
    for (const item of series) {
      item.querySelector(".now").textContent = history[item.dataset.name].at(-1) ?? "–";
    }
  };
  const resize = () => plot.setSize({ width: place.clientWidth, height: HEIGHT });
  return { plot, show, resize };
}

const figures = [...document.querySelectorAll("figure[data-queue]")];
const queues = [...new Set(figures.map((figure) => figure.dataset.queue))];
let charts = [];
function drawAll() {
  for (const { plot } of charts) plot.destroy();
  charts = figures.map((figure) => ({ queue: figure.dataset.queue, ...draw(figure) }));
}

async function load() {
  if (document.hidden) return;
  for (const queue of queues) {
    const answer = await fetch(`/queues/${encodeURIComponent(queue)}/history`).catch(() => undefined);
    if (!answer?.ok) continue;
    const history = await answer.json();
    for (const chart of charts) if (chart.queue === queue) chart.show(history);
  }
}

drawAll();
load();
setInterval(load, 1000);
addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawAll();
  load();
});
