
// Draws every figure of the page; colours that a figure does not choose suit light and dark.
const calm = {
  paper_bgcolor: "rgba(0,0,0,0)",
  plot_bgcolor: "rgba(127,127,127,0.08)",
  font: { color: "#808890" },
  margin: { l: 60, r: 20, t: 40, b: 50 },
};
const line = { gridcolor: "rgba(127,127,127,0.25)", zerolinecolor: "rgba(127,127,127,0.4)" };
for (const data of document.querySelectorAll('script[type="application/json"]')) {
  const figure = JSON.parse(data.textContent);
  const layout = { ...calm, ...figure.layout };
  layout.xaxis = { ...line, ...layout.xaxis };
  layout.yaxis = { ...line, ...layout.yaxis };
  Plotly.newPlot(data.parentElement, figure.data, layout, { responsive: true, displaylogo: false });
}
