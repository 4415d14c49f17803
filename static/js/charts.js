/* Draws every <figure class="chart" data-chart> of a page with Plotly, in the colours of the theme.

     <figure class="chart" data-chart>
       <figcaption>p95 doubled at 14:00 <span class="sub">last update …</span></figcaption>
       <div class="chart-plot" role="img" aria-label="the same sentence"></div>     also .short .tall .spark
       {{ figure|json_script }}                     {"data": […], "layout": {…}}: what plotly's fig.to_json() gives
       <details class="chart-data"><summary>Show as table</summary>…table…</details>
     </figure>

   A trace names its meaning, never a colour: "meta": {"tone": "serving" | "challenger" | "reference" | "ok" | "warn" |
   "bad" | "info" | "mute" | "1".."7"}. Serving is solid blue, the challenger dashed orange, the reference dashed grey;
   without a tone, series take colour and dash in order. A shape or annotation may carry a tone in its "name".
   {{ … }} in the page head: {% include "portal/_charts_head.html" %}; the view is a chart_page (portal/csp.py).
*/
"use strict";
(() => {
    const dashes = ["solid", "dash", "dot", "dashdot"];
    const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const colour = (tone) => {
        const named = { serving: "--chart-1", challenger: "--chart-2", reference: "--chart-7", ok: "--ok-dot", warn: "--warn-dot",
            bad: "--bad-dot", info: "--info-dot", mute: "--mute-dot", line: "--line-2", text: "--text-2" };
        return css(named[tone] || `--chart-${tone}`);
    };
    const faded = (hex, alpha) => {
        const n = parseInt(hex.slice(1), 16);
        return hex.length === 7 ? `rgba(${n >> 16}, ${(n >> 8) & 255}, ${n & 255}, ${alpha})` : hex;
    };

    const dress = (trace, index) => {
        const tone = trace.meta?.tone || String((index % 7) + 1);
        const c = colour(tone);
        const dash = trace.line?.dash || (["challenger", "reference"].includes(tone) ? "dash" : trace.meta?.tone ? "solid" : dashes[index % 4]);
        if (trace.type === "bar" || trace.type === "histogram") {
            trace.marker = { ...trace.marker, color: tone === "reference" ? faded(c, .45) : c, line: { width: 0 } };
        } else if (trace.type === "heatmap") {
            trace.colorscale = [[0, css("--surface-2")], [1, c]];
        } else {
            trace.line = { width: 2, ...trace.line, color: c, dash };
            trace.marker = { size: 5, ...trace.marker, color: c };
            if (trace.fill) trace.fillcolor = faded(c, .12);
        }
        return trace;
    };

    const axis = (given) => ({ gridcolor: css("--line"), linecolor: css("--line-2"), zerolinecolor: css("--line-2"),
        tickcolor: css("--line-2"), automargin: true, ...given, tickfont: { color: css("--text-2"), ...given?.tickfont } });

    const layoutFor = (layout, plot) => {
        const spark = plot.classList.contains("spark");
        const dressed = { autosize: true, margin: spark ? { l: 0, r: 0, t: 2, b: 2 } : { l: 48, r: 12, t: 12, b: 36 },
            showlegend: false, hovermode: "x unified", bargap: .25, ...layout,
            height: plot.clientHeight || undefined, title: undefined,
            paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
            font: { family: css("--font-sans"), size: 12, color: css("--text-2") },
            hoverlabel: { bgcolor: css("--surface"), bordercolor: css("--line-2"), font: { color: css("--text"), family: css("--font-sans") } },
            legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", ...layout.legend } };
        for (const key of Object.keys(dressed)) if (/^[xy]axis/.test(key)) dressed[key] = axis(dressed[key]);
        if (!dressed.xaxis) dressed.xaxis = axis({});
        if (!dressed.yaxis) dressed.yaxis = axis({});
        if (dressed.showlegend && !layout.margin) dressed.margin.t = 36;
        if (spark) { dressed.xaxis.visible = false; dressed.yaxis.visible = false; dressed.hovermode = false; }
        dressed.shapes = (layout.shapes || []).map((s) => ({ ...s, line: { width: 1, dash: "dot", ...s.line, color: colour(s.name || "text") },
            ...(s.type === "rect" ? { fillcolor: faded(colour(s.name || "mute"), .1) } : {}) }));
        dressed.annotations = (layout.annotations || []).map((a) => ({ showarrow: false, ...a, font: { size: 11, ...a.font, color: colour(a.name || "text") } }));
        delete dressed.template;
        return dressed;
    };

    const draw = (figure) => {
        const plot = figure.querySelector(".chart-plot");
        const source = figure.querySelector('script[type="application/json"]');
        if (!plot || !source || !window.Plotly) return;
        const given = JSON.parse(source.textContent);
        const wanted = typeof given === "string" ? JSON.parse(given) : given;
        const data = wanted.data.map((trace, i) => dress(structuredClone(trace), i));
        window.Plotly.react(plot, data, layoutFor(structuredClone(wanted.layout || {}), plot),
            { displayModeBar: false, responsive: true, staticPlot: plot.classList.contains("spark") });
    };

    const all = () => document.querySelectorAll("figure[data-chart]").forEach(draw);
    document.addEventListener("themechange", all);
    document.addEventListener("htmx:afterSwap", all);
    document.addEventListener("toggle", (event) => {
        if (event.target.open) event.target.querySelectorAll("figure[data-chart]").forEach(draw);
    }, true);
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all); else all();
})();
