/* Runs in <head>, before anything is painted. The same key as the Django admin ("theme": light, dark, auto),
   so that portal and admin never disagree. data-theme holds the choice, data-bs-theme what is shown. */
"use strict";
(() => {
    const root = document.documentElement;
    const dark = window.matchMedia("(prefers-color-scheme: dark)");

    const stored = () => {
        const mode = localStorage.getItem("theme");
        return ["light", "dark", "auto"].includes(mode) ? mode : "auto";
    };

    const apply = () => {
        const mode = stored();
        const shown = mode === "auto" ? (dark.matches ? "dark" : "light") : mode;
        const changed = root.dataset.bsTheme !== shown;
        root.dataset.theme = mode;
        root.dataset.bsTheme = shown;
        if (changed) document.dispatchEvent(new CustomEvent("themechange", { detail: shown }));
    };

    window.portalTheme = {
        set(mode) { localStorage.setItem("theme", mode); apply(); },
        get: stored,
    };
    dark.addEventListener("change", apply);
    window.addEventListener("storage", apply);
    /* The admin's own switch writes data-theme itself: follow it. */
    new MutationObserver(() => { if (root.dataset.theme !== stored() || !root.dataset.bsTheme) apply(); else {
        const shown = stored() === "auto" ? (dark.matches ? "dark" : "light") : stored();
        if (root.dataset.bsTheme !== shown) apply();
    } }).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
    apply();
})();
