"""Whether a page is readable: every visible text measured by the browser itself."""

from collections.abc import Sequence

from playwright.sync_api import Page

# A fault is one line. What is measured are the rectangles of text nodes; a label that the stylesheet puts before a cell
# is no node, so a copy of it is put at the same place for as long as it takes to measure it.
_MEASURE = r"""isPrint => {
    const faults = [], view = document.documentElement.clientWidth, cut = new Map();
    const quoted = text => JSON.stringify(text.trim().slice(0, 40));
    const isHidden = element => {
        if (!cut.has(element)) {
            const parent = element.parentElement;
            cut.set(element, getComputedStyle(element).clipPath !== 'none' || (parent !== null && isHidden(parent)));
        }
        return cut.get(element);
    };
    const isShown = element => element.checkVisibility({visibilityProperty: true, opacityProperty: true})
        && !isHidden(element);
    const block = element => {
        if (element.closest('svg') !== null) return element.closest('svg');
        while (['inline', 'contents'].includes(getComputedStyle(element).display)) element = element.parentElement;
        return element;
    };
    // Charts are the one thing that may be wider than a telephone; a printer cannot scroll.
    const mayScroll = element => !isPrint && element.closest('.scrolls')?.querySelector('svg.chart, svg.strip') != null;
    const texts = [];
    const measure = (node, text) => {
        const range = document.createRange();
        range.selectNodeContents(node);
        const holder = node.parentElement, frame = block(holder).getBoundingClientRect();
        for (const box of range.getClientRects()) {
            if (box.width < 0.5 || box.height < 0.5 || box.bottom + scrollY <= 0) continue;
            texts.push({node, text, left: box.left, right: box.right, top: box.top, bottom: box.bottom});
            if (box.left < frame.left - 1 || box.right > frame.right + 1)
                faults.push(`${quoted(text)} leaves its ${block(holder).tagName}`);
            if ((box.left < -0.5 || box.right > view + 0.5) && !mayScroll(holder))
                faults.push(`${quoted(text)} leaves the page`);
        }
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.data.trim() && isShown(node.parentElement)) measure(node, node.data);
    }
    for (const cell of document.querySelectorAll('[data-label]')) {
        const style = getComputedStyle(cell, '::before');
        if (!isShown(cell) || style.content === 'none' || style.position !== 'absolute') continue;
        const copy = document.createElement('span');
        copy.textContent = style.content.replace(/^"|"$/g, '');
        for (const name of ['position', 'left', 'top', 'font', 'whiteSpace']) copy.style[name] = style[name];
        cell.prepend(copy);
        measure(copy.firstChild, copy.textContent);
        copy.remove();
    }
    texts.sort((one, other) => one.top - other.top);
    texts.forEach((one, place) => {
        for (let next = place + 1; next < texts.length && texts[next].top < one.bottom - 1; next++) {
            const other = texts[next];
            const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
            if (other.node !== one.node && across > 1)
                faults.push([one.text, other.text].map(quoted).sort().join(' and ') + ' overlap');
        }
    });
    for (const element of document.body.querySelectorAll('*')) {
        const style = getComputedStyle(element);
        if (style.overflowX === 'visible' || !isShown(element) || element.matches('input, select, svg')) continue;
        if (element.scrollWidth > element.clientWidth + 1 && !mayScroll(element))
            faults.push(`${element.tagName}.${element.className} is cut at its side`);
        if (element.scrollHeight > element.clientHeight + 1)
            faults.push(`${element.tagName}.${element.className} is cut below`);
    }
    // What a control says is no text node: its font is measured. The arrow of a list is as wide as its text is high.
    const pen = document.createElement('canvas').getContext('2d');
    for (const control of document.querySelectorAll('select, input:not([type=checkbox])')) {
        const isList = control.matches('select'), style = getComputedStyle(control);
        const text = isList ? control.selectedOptions[0].text : control.value || control.placeholder;
        pen.font = style.font;
        const room = control.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
        if (pen.measureText(text).width + (isList ? parseFloat(style.fontSize) : 0) > room + 1)
            faults.push(`${quoted(text)} is cut in ${control.id}`);
    }
    if (document.scrollingElement.scrollWidth > view)
        faults.push(`the page is ${document.scrollingElement.scrollWidth} wide, the screen ${view}`);
    return [texts.length, [...new Set(faults)]];
}"""


def unfold(page: Page) -> None:
    """Open everything that is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")


def layout_faults(page: Page, *, is_print: bool = False) -> Sequence[str]:
    """Return the unreadable parts, a line each: a text over another, one that is cut, a page that is too wide."""
    count, faults = page.evaluate(_MEASURE, is_print)
    assert count > 5
    return [str(fault) for fault in faults]
