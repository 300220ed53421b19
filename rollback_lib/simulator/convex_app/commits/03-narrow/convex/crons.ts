import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();

crons.interval("close past bookings", { minutes: 15 }, internal.bookings.closePast, {});
crons.daily("expire memberships", { hourUTC: 16, minuteUTC: 30 }, internal.memberships.expire, {});

export default crons;
