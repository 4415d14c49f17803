/* What every page can do: drawer, menus, theme switch, dialogs, copy, busy buttons, dismissing, choosing. No inline handlers:
   behaviour is asked for by data attributes.

     data-drawer-toggle              opens and closes the side navigation on small screens
     data-theme-switch               auto → light → dark
     data-dialog="id"                opens <dialog id>; [data-close] inside closes it; the focus returns to the button
     data-copy="#id" | data-copy-text="…"   copies and says so
     form[data-busy]                 after the first submit the button is busy and a second one is ignored
     data-fill="#id" value="…"       writes its value into a field (chips of reasons)
     data-empties="#id"              empties a side panel ([data-takes-focus]: it gets the focus when htmx fills it); Esc does too
     data-dismiss                    removes the nearest .message
     data-print                      prints the page
     select[data-submit]             submits its form when changed
     data-shows="#id"                a checkbox or radio that shows an element while it is checked
     body[data-live-title]           "(42 %) …" in the page title, kept by fragments with data-title
*/
"use strict";
(() => {
    const root = document.documentElement;
    const say = (text) => {
        const status = document.getElementById("announcer");
        if (status) status.textContent = text;
    };

    /* Drawer */
    const setDrawer = (open) => {
        root.dataset.drawer = open ? "open" : "";
        const main = document.getElementById("main");
        if (main) main.inert = open;
        document.querySelectorAll("[data-drawer-toggle][aria-expanded]").forEach((b) => b.setAttribute("aria-expanded", String(open)));
        if (open) document.querySelector(".sidebar a")?.focus();
        else document.querySelector(".drawer-button")?.focus();
    };

    /* A side panel that htmx filled: empty, it is gone; the focus goes back to where it was asked for. */
    let asked = null;
    document.addEventListener("htmx:beforeRequest", (event) => {
        if (event.detail.target?.matches?.("[data-takes-focus]")) asked = event.detail.elt;
    });
    const emptyPanel = (selector) => {
        document.querySelector(selector)?.replaceChildren();
        asked?.focus();
    };
    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && event.target.closest?.(".side-panel")) emptyPanel(".side-panel");
    });

    /* A dialog opens at its top: where the field that wants the focus lies further down, the heading gets it. */
    const openDialog = (dialog) => {
        dialog.showModal();
        const heading = dialog.querySelector("h2");
        if (!dialog.scrollTop || !heading) return;
        heading.tabIndex = -1;
        heading.focus({ preventScroll: true });
        dialog.scrollTop = 0;
    };

    const themes = ["auto", "light", "dark"];
    let opener = null;

    document.addEventListener("click", async (event) => {
        const on = (selector) => event.target.closest(selector);
        let hit;
        if (on("[data-drawer-toggle]")) setDrawer(root.dataset.drawer !== "open");
        if ((hit = on("[data-theme-switch]"))) {
            window.portalTheme.set(themes[(themes.indexOf(window.portalTheme.get()) + 1) % 3]);
            say(hit.querySelector(`.theme-${window.portalTheme.get()}`)?.textContent.trim() || "");
        }
        if ((hit = on("[data-dialog]"))) {
            event.preventDefault();
            opener = hit;
            const dialog = document.getElementById(hit.dataset.dialog);
            if (dialog) openDialog(dialog);
        }
        if ((hit = on("dialog [data-close]"))) {
            event.preventDefault();
            hit.closest("dialog").close();
        }
        if ((hit = on("[data-copy], [data-copy-text]"))) {
            const source = hit.dataset.copy ? document.querySelector(hit.dataset.copy) : null;
            const text = source ? (source.value ?? source.textContent) : hit.dataset.copyText;
            try {
                await navigator.clipboard.writeText(text.trim());
            } catch {
                if (source) window.getSelection().selectAllChildren(source);
                return;
            }
            const label = hit.querySelector("[data-label]") || hit;
            const before = label.textContent;
            label.textContent = hit.dataset.done || before;
            say(hit.dataset.done || "");
            setTimeout(() => { label.textContent = before; }, 2000);
        }
        if ((hit = on("[data-fill]"))) {
            const field = document.querySelector(hit.dataset.fill);
            if (field) { field.value = hit.value || hit.dataset.value || ""; field.focus(); }
        }
        if ((hit = on("[data-empties]"))) emptyPanel(hit.dataset.empties);
        if ((hit = on("[data-dismiss]"))) hit.closest(".message")?.remove();
        if (on("[data-print]")) window.print();
        document.querySelectorAll("details.menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
    });

    document.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        if (root.dataset.drawer === "open") setDrawer(false);
        document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); });
    });

    document.addEventListener("close", (event) => {
        if (event.target.matches("dialog") && opener) { opener.focus(); opener = null; }
    }, true);

    document.addEventListener("change", (event) => {
        if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
        showWhatIsChosen();
    });

    const showWhatIsChosen = () => document.querySelectorAll("[data-shows]").forEach((choice) => {
        const shown = document.querySelector(choice.dataset.shows);
        if (shown) shown.hidden = !choice.checked;
    });

    /* Busy buttons: width is kept because the label stays and the spinner stands in its place. */
    document.addEventListener("submit", (event) => {
        const form = event.target;
        if (!form.matches("[data-busy]")) return;
        if (form.getAttribute("aria-busy") === "true") { event.preventDefault(); return; }
        form.setAttribute("aria-busy", "true");
        const button = event.submitter || form.querySelector("[type=submit]");
        if (!button) return;
        button.setAttribute("aria-busy", "true");
        const label = button.querySelector("[data-label]");
        if (label && button.dataset.busyText) label.textContent = button.dataset.busyText;
    });
    /* Coming back by the browser's back button finds a page that can be used again. */
    window.addEventListener("pageshow", (event) => {
        if (event.persisted) document.querySelectorAll("[aria-busy=true]").forEach((el) => el.removeAttribute("aria-busy"));
    });

    /* Errors first: the focus goes to the summary. A dialog with errors opens itself. */
    const start = () => {
        const dialog = document.querySelector("dialog[data-open]");
        if (dialog) openDialog(dialog);
        document.querySelector(".error-summary")?.focus();
        showWhatIsChosen();
        document.querySelectorAll("button[data-needs-script]").forEach((button) => { button.hidden = false; });
    };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();

    /* After htmx put a fragment in place: page title of a running job, charts (charts.js listens itself). */
    document.addEventListener("htmx:afterSwap", (event) => {
        if (event.detail.target.matches?.("[data-takes-focus]")) event.detail.target.focus();
        const titled = event.detail.target.querySelector?.("[data-title]") || document.querySelector("[data-title]");
        if (titled) document.title = titled.dataset.title;
    });
    /* A server that does not answer is said once, not in every poll. */
    document.addEventListener("htmx:sendError", () => say(document.body.dataset.offline || ""));
})();
