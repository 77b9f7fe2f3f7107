// What unfold leaves out for people who hear the page, or use no mouse.
document.addEventListener("DOMContentLoaded", () => {
    // An icon is a word in a font of pictures: that word shall not be heard.
    for (const icon of document.querySelectorAll(".material-symbols-outlined")) icon.setAttribute("aria-hidden", "true");

    // What opens at a click, the menu of the person above all, opens by key as well.
    for (const opener of document.querySelectorAll(":is(div, span, a:not([href]))[x-on\\:click]")) {
        opener.tabIndex = 0;
        opener.setAttribute("role", "button");
        opener.addEventListener("keydown", (event) => {
            if (event.target !== opener || !["Enter", " "].includes(event.key)) return;
            event.preventDefault();
            opener.click();
        });
    }

    // What has no name gets one: a field of a list that of its column and row, a box its own hint, an icon what it shows.
    const text = (one) => (one ? one.innerText.trim().replace(/\s+/g, " ") : "");
    const known = { "searchbar-submit": "Search", searchInput: "Search" };
    for (const one of document.querySelectorAll("a[href], button, [role=button], input, select, textarea")) {
        const isField = one.matches("input, select, textarea");
        const icons = [...one.querySelectorAll("[aria-hidden=true]")].map((icon) => icon.textContent.trim());
        const said = isField ? "" : icons.reduce((words, icon) => words.replace(icon, ""), one.textContent).trim();
        if (said || one.labels?.length || one.querySelector("[title], img[alt]")) continue;
        if (one.title || one.ariaLabel || one.matches("[aria-labelledby], [type=hidden], input[type=submit]")) continue;
        const row = one.closest("tr");
        const column = row && one.closest("table").tHead?.rows[0]?.cells[one.closest("td, th")?.cellIndex];
        const name =
            known[one.id || one.getAttribute("x-ref")] ||
            (isField && column && `${text(column)}, ${text(row.querySelector("th")) || one.name}`) ||
            one.getAttribute("placeholder") ||
            text(one.closest(".form-row, .field-row, fieldset")?.querySelector("label, legend")) ||
            (one.getAttribute("href") === "/admin/" && "Home") ||
            icons.join(" ").replaceAll("_", " ");
        if (name) one.ariaLabel = name;
    }

    // A list shows no help beside its fields, so nothing is to be looked for there.
    for (const one of document.querySelectorAll("table [aria-describedby]")) {
        const there = one.getAttribute("aria-describedby").split(" ").filter((id) => document.getElementById(id));
        if (there.length) one.setAttribute("aria-describedby", there.join(" "));
        else one.removeAttribute("aria-describedby");
    }
});
