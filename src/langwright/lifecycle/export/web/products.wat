;; The products of the page's decoder, four values at a time (WebAssembly SIMD).
;;
;; Matrices lie row by row; the columns of those in float32 are padded with zeros to a multiple of 4,
;; those in 8 bits are a multiple of 32, as many as share a scale. All addresses are in bytes.
;;
;; products.wasm is made of this file: npx -p wabt wat2wasm products.wat -o products.wasm
(module
  (import "page" "memory" (memory 1))

  ;; The sum of four values.
  (func $sum (param $v v128) (result f32)
    (f32.add
      (f32.add (f32x4.extract_lane 0 (local.get $v)) (f32x4.extract_lane 1 (local.get $v)))
      (f32.add (f32x4.extract_lane 2 (local.get $v)) (f32x4.extract_lane 3 (local.get $v)))))

  ;; out[r] = w[r] . x, float32.
  (func (export "product_f32")
    (param $out i32) (param $w i32) (param $x i32) (param $rows i32) (param $columns i32)
    (local $end i32) (local $at i32) (local $stop i32) (local $a v128) (local $b v128)
    (local.set $end (i32.add (local.get $out) (i32.shl (local.get $rows) (i32.const 2))))
    (local.set $stop (i32.add (local.get $x) (i32.shl (local.get $columns) (i32.const 2))))
    (block $done
      (loop $row
        (br_if $done (i32.ge_u (local.get $out) (local.get $end)))
        (local.set $a (v128.const i32x4 0 0 0 0))
        (local.set $b (v128.const i32x4 0 0 0 0))
        (local.set $at (local.get $x))
        (block $last
          (loop $eight
            (br_if $last
              (i32.gt_u (i32.add (local.get $at) (i32.const 32)) (local.get $stop)))
            (local.set $a (f32x4.add (local.get $a)
              (f32x4.mul (v128.load (local.get $w)) (v128.load (local.get $at)))))
            (local.set $b (f32x4.add (local.get $b)
              (f32x4.mul (v128.load offset=16 (local.get $w)) (v128.load offset=16 (local.get $at)))))
            (local.set $w (i32.add (local.get $w) (i32.const 32)))
            (local.set $at (i32.add (local.get $at) (i32.const 32)))
            (br $eight)))
        (if (i32.lt_u (local.get $at) (local.get $stop))
          (then
            (local.set $a (f32x4.add (local.get $a)
              (f32x4.mul (v128.load (local.get $w)) (v128.load (local.get $at)))))
            (local.set $w (i32.add (local.get $w) (i32.const 16)))))
        (f32.store (local.get $out) (call $sum (f32x4.add (local.get $a) (local.get $b))))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br $row))))

  ;; x in whole numbers for product_q8: each 32 values share a scale, by which the largest is 2^30,
  ;; and lie as 32 upper halves, with the sign, and behind them 32 lower ones of 15 bits.
  (func (export "to_whole")
    (param $x i32) (param $quants i32) (param $scale i32) (param $columns i32)
    (local $stop i32) (local $at i32) (local $end i32) (local $largest f32)
    (local $most v128) (local $by v128) (local $a v128) (local $b v128)
    (local.set $stop (i32.add (local.get $x) (i32.shl (local.get $columns) (i32.const 2))))
    (loop $block
      (local.set $end (i32.add (local.get $x) (i32.const 128)))
      (local.set $at (local.get $x))
      (local.set $most (v128.const i32x4 0 0 0 0))
      (loop $four
        (local.set $most (f32x4.max (local.get $most) (f32x4.abs (v128.load (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $four (i32.lt_u (local.get $at) (local.get $end))))
      ;; A block of zeros must not be divided by nothing.
      (local.set $largest
        (f32.max
          (f32.max
            (f32.max (f32x4.extract_lane 0 (local.get $most)) (f32x4.extract_lane 1 (local.get $most)))
            (f32.max (f32x4.extract_lane 2 (local.get $most)) (f32x4.extract_lane 3 (local.get $most))))
          (f32.const 1e-20)))
      (f32.store (local.get $scale) (f32.div (local.get $largest) (f32.const 1073709056)))
      (local.set $by (f32x4.splat (f32.div (f32.const 1073709056) (local.get $largest))))
      (loop $eight
        (local.set $a
          (i32x4.trunc_sat_f32x4_s (f32x4.mul (local.get $by) (v128.load (local.get $x)))))
        (local.set $b
          (i32x4.trunc_sat_f32x4_s (f32x4.mul (local.get $by) (v128.load offset=16 (local.get $x)))))
        (v128.store (local.get $quants)
          (i16x8.narrow_i32x4_s
            (i32x4.shr_s (local.get $a) (i32.const 15)) (i32x4.shr_s (local.get $b) (i32.const 15))))
        (v128.store offset=64 (local.get $quants)
          (i16x8.narrow_i32x4_s
            (v128.and (local.get $a) (v128.const i32x4 32767 32767 32767 32767))
            (v128.and (local.get $b) (v128.const i32x4 32767 32767 32767 32767))))
        (local.set $quants (i32.add (local.get $quants) (i32.const 16)))
        (local.set $x (i32.add (local.get $x) (i32.const 32)))
        (br_if $eight (i32.lt_u (local.get $x) (local.get $end))))
      (local.set $quants (i32.add (local.get $quants) (i32.const 64)))
      (local.set $scale (i32.add (local.get $scale) (i32.const 4)))
      (br_if $block (i32.lt_u (local.get $x) (local.get $stop)))))

  ;; out[r] = sum over the blocks of scale[r][block] * scale_x[block] * (w[r][block] . x[block]); w in
  ;; int8, x as to_whole leaves it. Whole numbers are multiplied two at a time, and no sum of 32
  ;; products overflows; that takes half the time of turning w into float32, and loses nothing.
  (func (export "product_q8")
    (param $out i32) (param $w i32) (param $scale i32) (param $x i32) (param $scale_x i32)
    (param $rows i32) (param $columns i32)
    (local $end i32) (local $at i32) (local $at_scale i32) (local $stop i32) (local $all v128)
    (local $w0 v128) (local $w1 v128) (local $w2 v128) (local $w3 v128)
    (local.set $end (i32.add (local.get $out) (i32.shl (local.get $rows) (i32.const 2))))
    (local.set $stop (i32.add (local.get $x) (i32.shl (local.get $columns) (i32.const 2))))
    (block $done
      (loop $row
        (br_if $done (i32.ge_u (local.get $out) (local.get $end)))
        (local.set $all (v128.const i32x4 0 0 0 0))
        (local.set $at (local.get $x))
        (local.set $at_scale (local.get $scale_x))
        (loop $block
          (local.set $w0 (v128.load8x8_s (local.get $w)))
          (local.set $w1 (v128.load8x8_s offset=8 (local.get $w)))
          (local.set $w2 (v128.load8x8_s offset=16 (local.get $w)))
          (local.set $w3 (v128.load8x8_s offset=24 (local.get $w)))
          (local.set $all (f32x4.add (local.get $all)
            (f32x4.mul
              (f32x4.mul (v128.load32_splat (local.get $scale)) (v128.load32_splat (local.get $at_scale)))
              (f32x4.add
                (f32x4.mul (v128.const f32x4 32768 32768 32768 32768)
                  (f32x4.convert_i32x4_s
                    (i32x4.add (i32x4.add (i32x4.dot_i16x8_s (local.get $w0) (v128.load offset=0 (local.get $at))) (i32x4.dot_i16x8_s (local.get $w1) (v128.load offset=16 (local.get $at))))
                    (i32x4.add (i32x4.dot_i16x8_s (local.get $w2) (v128.load offset=32 (local.get $at))) (i32x4.dot_i16x8_s (local.get $w3) (v128.load offset=48 (local.get $at)))))))
                (f32x4.convert_i32x4_s
                    (i32x4.add (i32x4.add (i32x4.dot_i16x8_s (local.get $w0) (v128.load offset=64 (local.get $at))) (i32x4.dot_i16x8_s (local.get $w1) (v128.load offset=80 (local.get $at))))
                    (i32x4.add (i32x4.dot_i16x8_s (local.get $w2) (v128.load offset=96 (local.get $at))) (i32x4.dot_i16x8_s (local.get $w3) (v128.load offset=112 (local.get $at))))))))))
          (local.set $scale (i32.add (local.get $scale) (i32.const 4)))
          (local.set $at_scale (i32.add (local.get $at_scale) (i32.const 4)))
          (local.set $w (i32.add (local.get $w) (i32.const 32)))
          (local.set $at (i32.add (local.get $at) (i32.const 128)))
          (br_if $block (i32.lt_u (local.get $at) (local.get $stop))))
        (f32.store (local.get $out) (call $sum (local.get $all)))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br $row))))

  ;; out = sum of p[r] w[r] over the rows, float32: what attention takes of the values.
  (func (export "mix_f32")
    (param $out i32) (param $w i32) (param $p i32) (param $rows i32) (param $columns i32)
    (local $end i32) (local $stop i32) (local $at i32) (local $from i32) (local $step i32)
    (local $a v128)
    (local.set $step (i32.shl (local.get $columns) (i32.const 2)))
    (local.set $end (i32.add (local.get $out) (local.get $step)))
    (local.set $stop (i32.add (local.get $p) (i32.shl (local.get $rows) (i32.const 2))))
    (loop $four
      (local.set $a (v128.const i32x4 0 0 0 0))
      (local.set $at (local.get $p))
      (local.set $from (local.get $w))
      (loop $row
        (local.set $a (f32x4.add (local.get $a)
          (f32x4.mul (v128.load32_splat (local.get $at)) (v128.load (local.get $from)))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $from (i32.add (local.get $from) (local.get $step)))
        (br_if $row (i32.lt_u (local.get $at) (local.get $stop))))
      (v128.store (local.get $out) (local.get $a))
      (local.set $w (i32.add (local.get $w) (i32.const 16)))
      (local.set $out (i32.add (local.get $out) (i32.const 16)))
      (br_if $four (i32.lt_u (local.get $out) (local.get $end))))))
