/* The predict form: after an answer the focus goes to it, and a slow one says so. Without this script the page does the same job. */
"use strict";
(() => {
    const SLOW_MS = 5000;
    document.addEventListener("DOMContentLoaded", () => {
        const result = document.querySelector("[data-result]");
        if (result) result.focus({ preventScroll: window.matchMedia("(min-width: 1200px)").matches });
        const form = document.querySelector("form[data-predict]");
        if (!form) return;
        form.addEventListener("submit", () => {
            setTimeout(() => {
                if (form.getAttribute("aria-busy") === "true") form.querySelector("[data-slow-text]").textContent = form.dataset.slow;
            }, SLOW_MS);
        });
    });
})();
