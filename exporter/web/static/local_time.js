// Adds the time of the viewer's time zone to each time of the page, which are in UTC: behind it, or in a long table
// as its tooltip. Where both are the same, nothing is added.
"use strict";

const format = new Intl.DateTimeFormat("en-US", {
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
  timeZoneName: "short",
});

function dayAndTime(instant) {
  const parts = format.formatToParts(instant).map(({ type, value }) => [type, value]);
  const { year, month, day, hour, minute, timeZoneName } = Object.fromEntries(parts);
  return [`${year}-${month}-${day}`, `${hour}:${minute} ${timeZoneName}`];
}

for (const element of document.querySelectorAll("time[datetime]")) {
  const instant = new Date(element.dateTime);
  if (isNaN(instant) || instant.getTimezoneOffset() === 0) continue;
  const [day, time] = dayAndTime(instant);
  if (element.className === "short") {
    element.title = `${day} ${time}`;
    continue;
  }
  const local = document.createElement("span");
  local.className = "local";
  local.textContent = element.dateTime.startsWith(day) ? ` (${time})` : ` (${day} ${time})`;
  element.after(local);
}
