// The texts of this page that are hard to read, by WCAG's measure, in both themes: "theme: ratio text".
() => {
    const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const seen = (colours) => {
        pixel.clearRect(0, 0, 1, 1);
        for (const colour of colours) {
            pixel.fillStyle = colour;
            pixel.fillRect(0, 0, 1, 1);
        }
        return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (colour) => {
        const [r, g, b] = colour.map((c) => (c / 255 <= 0.03928 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (element) => {
        const grounds = [];
        for (let one = element; one; one = one.parentElement) grounds.unshift(getComputedStyle(one).backgroundColor);
        const both = [seen(["#fff", ...grounds]), seen(["#fff", ...grounds, getComputedStyle(element).color])];
        const [light, dark] = both.map(luminance).sort((a, b) => b - a);
        return (light + 0.05) / (dark + 0.05);
    };
    const still = document.createElement("style");
    still.textContent = "* { transition: none !important }";
    document.head.append(still);
    const hard = new Set();
    for (const theme of ["light", "dark"]) {
        document.documentElement.classList.toggle("dark", theme === "dark");
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const [text, element] = [texts.currentNode.textContent.trim(), texts.currentNode.parentElement];
            const counts = text && element.checkVisibility() && !element.closest("svg, option, [aria-hidden=true]");
            if (counts && ratio(element) < 4.49) hard.add(`${theme}: ${ratio(element).toFixed(2)} ${text.slice(0, 40)}`);
        }
    }
    return [...hard];
}
