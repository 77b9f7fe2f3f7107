// An icon is a word in a font of pictures. Who hears the page shall not hear that word.
document.addEventListener("DOMContentLoaded", () => {
    for (const icon of document.querySelectorAll(".material-symbols-outlined")) icon.setAttribute("aria-hidden", "true");
});
