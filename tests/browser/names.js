// What a screen reader could not say: controls, buttons and links without a name, pictures without words, references
// that lead nowhere, an order of focus of its own, a page without a heading or a language.
() => {
    const seen = one => one.checkVisibility({visibilityProperty: true}) && !one.closest("[aria-hidden=true]");
    const words = one => {
        const copy = one.cloneNode(true);
        copy.querySelectorAll("[class*=material-symbols], svg, [aria-hidden=true]").forEach(icon => icon.remove());
        const pictures = [...one.querySelectorAll("img[alt], [title]")].map(it => it.alt || it.title);
        return (copy.textContent + pictures.join("")).trim();
    };
    const named = one => {
        const by = (one.getAttribute("aria-labelledby") || "").split(/\s+/).map(id => document.getElementById(id));
        const labels = [...(one.labels || []), ...by.filter(Boolean)].map(words);
        const own = one.matches("input[type=submit], input[type=button]") ? one.value : "";
        const inside = one.matches("input, select, textarea") ? "" : words(one);
        return [one.getAttribute("aria-label"), one.title, own, inside, ...labels].some(text => text && text.trim());
    };
    const shown = one => one.outerHTML.replace(/\s+/g, " ").slice(0, 160);
    const found = [];
    const isPicture = one => one.closest("[role=img][aria-label]");
    const all = chosen => [...document.querySelectorAll(chosen)];
    for (const one of all("input:not([type=hidden]), select, textarea, button, a[href], [role=button], summary"))
        if (seen(one) && !named(one)) found.push(`no name: ${shown(one)}`);
    for (const one of all("img:not([alt]), svg[role=img]:not([aria-label]):not(:has(title)), canvas:not([aria-label])"))
        if (seen(one) && !isPicture(one)) found.push(`no words: ${shown(one)}`);
    for (const one of all("[aria-labelledby], [aria-describedby], [aria-controls]"))
        for (const kind of ["aria-labelledby", "aria-describedby", "aria-controls"])
            for (const id of (one.getAttribute(kind) || "").split(/\s+/).filter(Boolean))
                if (!document.getElementById(id)) found.push(`${kind} leads nowhere: ${shown(one)}`);
    for (const one of all("[tabindex]")) if (one.tabIndex > 0) found.push(`an order of its own: ${shown(one)}`);
    const ids = all("[id]").map(one => one.id);
    for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) found.push(`twice: #${id}`);
    if (!all("h1").some(seen)) found.push("no h1");
    if (!document.documentElement.lang) found.push("no language");
    return found;
}
