(() => {
  // Values under the pointer. Pages say the same without it: nothing is loaded, nothing is sent.
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.setAttribute('aria-hidden', 'true');
  tip.hidden = true;
  document.body.append(tip);
  const hide = mark => { tip.hidden = true; mark.removeAttribute('d'); };
  for (const svg of document.querySelectorAll('svg[data-spots]')) {
    const spots = JSON.parse(svg.dataset.spots);
    const mark = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    mark.setAttribute('class', 'spot');
    svg.append(mark);
    const show = event => {
      const matrix = svg.getScreenCTM();
      if (!matrix) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      const spot = spots.findLast(([x, y, w, h]) => at.x >= x && at.x <= x + w && at.y >= y && at.y <= y + h);
      if (!spot) return hide(mark);
      const [x, y, w, h, line, text] = spot;
      mark.setAttribute('d', line < 0 ? `M${x} ${y}h${w}v${h}h${-w}z` : `M${line} ${y}v${h}`);
      const [head, ...rest] = text.split('\n');
      const bold = document.createElement('b');
      bold.textContent = head;
      tip.replaceChildren(bold, ...rest.map(part => {
        const row = document.createElement('div');
        row.textContent = part;
        return row;
      }));
      tip.hidden = false;
      const width = document.documentElement.clientWidth, box = tip.getBoundingClientRect();
      const left = event.clientX + 16 + box.width > width ? event.clientX - 16 - box.width : event.clientX + 16;
      const top = event.clientY + 16 + box.height > innerHeight ? event.clientY - 16 - box.height : event.clientY + 16;
      tip.style.left = Math.max(4, left) + 'px';
      tip.style.top = Math.max(4, top) + 'px';
    };
    svg.addEventListener('pointermove', show);
    svg.addEventListener('pointerdown', show);
    svg.addEventListener('pointerleave', () => hide(mark));
  }
})();
