const at = (id) => document.getElementById(id);
const sections = [...at("answers").querySelectorAll("section")];
const answers = sections.flatMap((section) => {
  const asked = section.querySelector("h3").textContent;
  return [...section.querySelectorAll("details")].map((answer) => ({
    answer, arm: answer.dataset.arm, marks: answer.dataset.marks.split(" "),
    text: `${asked} ${answer.querySelector(".said").textContent}`.toLowerCase(),
  }));
});
function show() {
  const [arm, mark, text] = ["by-arm", "by-mark", "by-text"].map((id) => at(id).value.trim());
  let count = 0;
  for (const each of answers) {
    const fits = (!arm || each.arm === arm) && (!mark || each.marks.includes(mark))
      && each.text.includes(text.toLowerCase());
    each.answer.hidden = !fits;
    count += fits;
  }
  for (const section of sections) section.hidden = !section.querySelector("details:not([hidden])");
  at("shown").value = `${count} of ${answers.length} answers`;
}
at("filter").addEventListener("input", show);
at("filter").hidden = false;
show();
