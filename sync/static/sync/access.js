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
});
