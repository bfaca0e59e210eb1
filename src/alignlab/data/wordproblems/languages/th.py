"""Thai. Every thing comes with its classifier."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="th",
    women=("มะลิ", "นิดา", "สุดา", "ดาว", "ฟ้า", "แก้ว"),
    men=("ก้อง", "สมชาย", "วิชัย", "นนท์", "บอย", "เอก"),
    thing_forms=("thing", "classifier"),
    things=(
        "แอปเปิล|ผล",
        "ดินสอ|แท่ง",
        "สมุด|เล่ม",
        "ตั๋ว|ใบ",
        "ลูกบอล|ลูก",
        "ส้ม|ผล",
        "ไข่|ฟอง",
        "ดอกไม้|ดอก",
    ),
    templates={
        "gets_more": (
            "{woman}มี{thing} {a} {classifier} {man}ให้เพิ่มอีก {b} {classifier} ตอนนี้{woman}มี{thing}กี่{classifier}",
            "ตอนนี้{woman}มี{thing} {work} = {c} {classifier}",
        ),
        "gives_away": (
            "{man}มี{thing} {a} {classifier} เขาแบ่งให้{woman} {b} {classifier} {man}เหลือ{thing}กี่{classifier}",
            "{man}เหลือ{thing} {work} = {c} {classifier}",
        ),
        "full_boxes": (
            "มีกล่อง {a} กล่อง แต่ละกล่องมี{thing} {b} {classifier} มี{thing}ทั้งหมดกี่{classifier}",
            "มี{thing}ทั้งหมด {work} = {c} {classifier}",
        ),
        "shares_out": (
            "{woman}มี{thing} {a} {classifier} แบ่งให้เด็ก {b} คนเท่า ๆ กัน เด็กแต่ละคนได้{thing}กี่{classifier}",
            "เด็กแต่ละคนได้{thing} {work} = {c} {classifier}",
        ),
        "buys": (
            "{man}มีเหรียญ {c} เหรียญ เขาซื้อ{thing} {b} {classifier} ราคา{classifier}ละ {a} เหรียญ {man}เหลือเงินกี่เหรียญ",
            "{man}จ่ายเงิน {work} = {d} เหรียญ",
            "{man}เหลือเงิน {work} = {e} เหรียญ",
        ),
        "boxes_and_loose": (
            "{woman}มีกล่อง {a} กล่อง แต่ละกล่องมี{thing} {b} {classifier} บนโต๊ะมีอีก {c} {classifier} "
            "{woman}มี{thing}ทั้งหมดกี่{classifier}",
            "ในกล่องมี{thing} {work} = {d} {classifier}",
            "{woman}มี{thing}ทั้งหมด {work} = {e} {classifier}",
        ),
        "times_as_many": (
            "{woman}มี{thing} {a} {classifier} {man}มีเป็น {b} เท่าของ{woman} ทั้งสองคนมี{thing}รวมกันกี่{classifier}",
            "{man}มี{thing} {work} = {d} {classifier}",
            "ทั้งสองคนมี{thing}รวมกัน {work} = {e} {classifier}",
        ),
        "reading": (
            "หนังสือเล่มหนึ่งมี {c} หน้า {woman}อ่านวันละ {a} หน้าเป็นเวลา {b} วัน {woman}ต้องอ่านอีกกี่หน้า",
            "{woman}อ่านไปแล้ว {work} = {d} หน้า",
            "{woman}ต้องอ่านอีก {work} = {e} หน้า",
        ),
        "sells_days": (
            "{woman}ขาย{thing}วันจันทร์ {a} {classifier} วันอังคาร {b} {classifier} และวันพุธ {c} {classifier} "
            "ในสามวันนี้{woman}ขาย{thing}ได้กี่{classifier}",
            "วันจันทร์และวันอังคาร{woman}ขาย{thing}ได้ {work} = {d} {classifier}",
            "ทั้งสามวัน{woman}ขาย{thing}ได้ {work} = {e} {classifier}",
        ),
        "gives_and_gets": (
            "{man}มี{thing} {a} {classifier} เขาแบ่งให้{woman} {b} {classifier} แล้วซื้อเพิ่มอีก {c} {classifier} "
            "ตอนนี้{man}มี{thing}กี่{classifier}",
            "หลังจากแบ่งแล้ว{man}มี{thing} {work} = {d} {classifier}",
            "ตอนนี้{man}มี{thing} {work} = {e} {classifier}",
        ),
        "how_many_more": (
            "{woman}มี{thing} {a} {classifier} {man}มี {b} {classifier} {woman}มี{thing}มากกว่า{man}กี่{classifier}",
            "{woman}มี{thing}มากกว่า{man} {work} = {c} {classifier}",
        ),
        "fewer_together": (
            "{man}มี{thing} {a} {classifier} {woman}มีน้อยกว่า{man} {b} {classifier} ทั้งสองคนมี{thing}รวมกันกี่{classifier}",
            "{woman}มี{thing} {work} = {d} {classifier}",
            "ทั้งสองคนมี{thing}รวมกัน {work} = {e} {classifier}",
        ),
        "pool_and_share": (
            "{woman}นำ{thing}มา {a} {classifier} และ{man}นำมา {b} {classifier} ทั้งสองคนแบ่งให้เด็ก {c} คนเท่า ๆ กัน "
            "เด็กแต่ละคนได้{thing}กี่{classifier}",
            "ทั้งสองคนนำ{thing}มา {work} = {d} {classifier}",
            "เด็กแต่ละคนได้{thing} {work} = {e} {classifier}",
        ),
        "packs_and_sells": (
            "{man}ใส่{thing} {a} {classifier} ลงในถุง ถุงละ {b} {classifier} แล้วขายถุงละ {c} เหรียญ {man}ได้เงินกี่เหรียญ",
            "{man}ใส่ได้ {work} = {d} ถุง",
            "{man}ได้เงิน {work} = {e} เหรียญ",
        ),
        "two_prices": (
            "{woman}ซื้อ{thing} {a} {classifier} ราคา{classifier}ละ {b} เหรียญ และซื้อถ้วย {c} ใบ ราคาใบละ {d} "
            "เหรียญ {woman}จ่ายเงินกี่เหรียญ",
            "ค่า{thing}คือ {work} = {e} เหรียญ",
            "ค่าถ้วยคือ {work} = {f} เหรียญ",
            "{woman}จ่ายเงิน {work} = {g} เหรียญ",
        ),
        "bus": (
            "บนรถเมล์มีคน {a} คน ที่ป้ายถัดไปมีคนลง {b} คน และมีคนขึ้น {c} คน ตอนนี้บนรถเมล์มีคนกี่คน",
            "หลังจากมีคนลง บนรถเมล์มีคน {work} = {d} คน",
            "ตอนนี้บนรถเมล์มีคน {work} = {e} คน",
        ),
        "age": (
            "{woman}อายุ {a} ปี {man}อายุมากกว่า{woman} {b} ปี อีก {c} ปี{man}จะอายุกี่ปี",
            "ตอนนี้{man}อายุ {work} = {d} ปี",
            "ตอนนั้น{man}จะอายุ {work} = {e} ปี",
        ),
        "garden": (
            "ในสวนมีต้นไม้ {a} แถว แต่ละแถวมีต้นไม้ {b} ต้น {man}ตัดไป {c} ต้น เหลือต้นไม้กี่ต้น",
            "ตอนแรกมีต้นไม้ {work} = {d} ต้น",
            "เหลือต้นไม้ {work} = {e} ต้น",
        ),
        "bakery": (
            "{woman}อบขนมปังชั่วโมงละ {a} ก้อน และทำงานวันละ {b} ชั่วโมง ใน {c} วัน{woman}อบขนมปังได้กี่ก้อน",
            "ในหนึ่งวัน{woman}อบขนมปังได้ {work} = {d} ก้อน",
            "ทั้งหมด{woman}อบขนมปังได้ {work} = {e} ก้อน",
        ),
        "days_to_finish": (
            "หนังสือเล่มหนึ่งมี {c} หน้า {man}อ่านไปแล้ว {d} หน้า และจากนี้อ่านวันละ {a} หน้า {man}ต้องอ่านอีกกี่วันจึงจะจบ",
            "{man}ต้องอ่านอีก {work} = {e} หน้า",
            "{man}ต้องอ่านอีก {work} = {f} วัน",
        ),
        "school_class": (
            "ในห้องเรียนมีเด็กหญิง {a} คน และเด็กชาย {b} คน เด็กแต่ละคนได้{thing} {c} {classifier} "
            "ต้องใช้{thing}ทั้งหมดกี่{classifier}",
            "ในห้องเรียนมีเด็ก {work} = {d} คน",
            "ต้องใช้{thing}ทั้งหมด {work} = {e} {classifier}",
        ),
        "hat": (
            "{man}มีเหรียญ {d} เหรียญ เขาซื้อ{thing} {a} {classifier} ราคา{classifier}ละ {b} เหรียญ "
            "และหมวกใบหนึ่งราคา {c} เหรียญ {man}เหลือเงินกี่เหรียญ",
            "ค่า{thing}คือ {work} = {e} เหรียญ",
            "รวมค่าหมวกแล้ว{man}จ่ายเงิน {work} = {f} เหรียญ",
            "{man}เหลือเงิน {work} = {g} เหรียญ",
        ),
    },
)
